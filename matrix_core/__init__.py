"""The MATRIX method (arXiv 2402.05699), pure: it knows no orchestrator, no gate and no store."""
