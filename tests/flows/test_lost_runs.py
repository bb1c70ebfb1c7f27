"""A machine that falls silent, for real: two services on one server; one has a run, is stopped, and says nothing any more."""

from contextlib import suppress

import psutil
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows import lost_runs
from tests.service import serving, until

BEAT = "prefect.flow-run.heartbeat"


def test_a_run_that_says_nothing_any_more_is_crashed_and_goes_on_elsewhere_when_it_is_retried(tmp_path, monkeypatch):
    """Half the silence that is usual, as somebody may have set it; the service that joins leaves that."""
    monkeypatch.setattr(lost_runs, "SILENCE", 60)
    environment = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    with serving(tmp_path / "one", **environment) as service:
        with temporary_settings({PREFECT_API_URL: f"{service.url}/api"}):
            lost_runs.watch()
        until(service.worker)
        waiting = [*service.worker().children(recursive=True), service.worker()]
        for process in waiting:
            process.suspend()  # so that the other machine gets the run
        with serving(tmp_path / "two", join=service, **environment) as other:
            (automation,) = service.post("/automations/filter")
            assert (automation["name"], automation["trigger"]["within"]) == (lost_runs.AUTOMATION, 60)
            run = service.trigger("simulate", store=str(tmp_path / "store"), scenes=48, steps=1, run_id="silent")

            def tells_of_itself() -> bool:
                wanted = {"event": {"name": [BEAT]}, "resource": {"id": [f"prefect.flow-run.{run}"]}}
                played = service.post("/task_runs/count", flow_runs={"id": {"any_": [run]}})
                return bool(service.post("/events/filter", filter=wanted)["events"]) and played > 3

            until(tells_of_itself, 120)
            silent = [*other.worker().children(recursive=True), other.worker()]
            for process in silent:
                process.suspend()
            try:
                state = service.ended(run)
                assert state["type"] == "CRASHED"
                assert "its machine is gone" in state["message"]
                for process in waiting:
                    process.resume()
                service.retry(run)
                assert service.ended(run)["type"] == "COMPLETED", service.state(run)["message"]
            finally:
                for process in [*silent, *waiting]:
                    with suppress(psutil.NoSuchProcess):
                        process.resume()
