"""Tests; first of all the environment that they run in.

Prefect reads its settings when it is imported, which conftests do: its database lies in a folder of the tests' own, and it may
start slowly. What the program keeps in the user's cache lies there too, and all of it goes when the process ends.
"""

import os
import tempfile

_FOLDER = tempfile.TemporaryDirectory(prefix="matrix-align-tests-", ignore_cleanup_errors=True)
os.environ["PREFECT_HOME"] = _FOLDER.name
os.environ["XDG_CACHE_HOME"] = os.environ["PREFECT_HOME"] + "/cache"
os.environ["PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"] = "180"
