"""Prefect tasks, the store, and input files: what lies between the flows and the method."""
