"""Tests; first of all the environment that they run in.

Prefect reads its settings when it is imported, which conftests do: its database lies in a folder of the tests' own, and it may
start slowly. What the program keeps in the user's cache lies there too.
"""

import os
import tempfile

os.environ["PREFECT_HOME"] = tempfile.mkdtemp(prefix="matrix-align-tests-")
os.environ["XDG_CACHE_HOME"] = os.environ["PREFECT_HOME"] + "/cache"
os.environ["PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"] = "180"
