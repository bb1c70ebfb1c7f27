"""What Prefect is told for runs from the command line, in processes of their own."""

import os
import subprocess
import sys

import pytest

BEATS = """
from flows.prefect_settings import prefect_for
with prefect_for(debug=False):
    from prefect.settings import get_current_settings
    print(get_current_settings().flows.heartbeat_frequency)
"""


@pytest.mark.parametrize(
    ("environment", "beats"),
    [
        ({}, "None"),
        ({"PREFECT_API_URL": "http://127.0.0.1:9/api"}, "180"),
        ({"PREFECT_API_URL": "http://127.0.0.1:9/api", "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30"}, "30"),
        ({"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "45"}, "45"),
    ],
)
def test_a_run_gives_signs_of_life_where_somebody_may_listen(environment, beats):
    others = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    told = subprocess.run([sys.executable, "-c", BEATS], env=others | environment, capture_output=True, text=True, check=True)
    assert told.stdout.split() == [beats]
