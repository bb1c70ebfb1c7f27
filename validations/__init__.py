"""The gates between the steps: Great Expectations suites over hand-offs as tables."""
