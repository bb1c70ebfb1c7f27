"""Runs that ended without a word are marked as crashed, so that they free their slot and can be retried.

Where the server is our own, a run is lost as soon as its process is gone. A server that is joined only hears of other machines:
each run tells of itself (Prefect's heartbeats), and an automation there takes it for lost when it has said nothing for a while. On
a laptop that sleeps now and then this would only do harm.
"""

from datetime import timedelta

import psutil

BEAT = 30
"""Seconds between two signs of life of a run, the least that Prefect takes; `PREFECT_FLOWS_HEARTBEAT_FREQUENCY`."""
SILENCE = 4 * BEAT
"""Seconds without one after which a run is lost: a busy machine may be late with some."""
AUTOMATION = "matrix: runs that say nothing any more"
TAG = "matrix"
"""What all our deployments are tagged with: whatever else runs on the same server is left alone."""


def watch() -> None:
    """Have the server mark silent runs as crashed; an automation of that name stays as somebody has set it."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.objects import StateType
    from prefect.events.actions import ChangeFlowRunState
    from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
    from prefect.events.schemas.events import ResourceSpecification

    beat = "prefect.flow-run.heartbeat"
    ends = {f"prefect.flow-run.{name}" for name in ("Completed", "Failed", "Crashed", "Cancelled")}
    silent = EventTrigger(
        posture=Posture.Proactive,
        after={beat},
        expect={beat, *ends},
        within=timedelta(seconds=SILENCE),
        match=ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"}),
        match_related=ResourceSpecification({"prefect.resource.id": f"prefect.tag.{TAG}", "prefect.resource.role": "tag"}),
        for_each={"prefect.resource.id"},
    )
    message = f"The run has said nothing for {SILENCE} s: its machine is gone. Retry the run to go on where it stopped."
    with get_client(sync_client=True) as client:
        if not client.read_automations_by_name(AUTOMATION):
            crash = ChangeFlowRunState(state=StateType.CRASHED, message=message)
            client.create_automation(AutomationCore(name=AUTOMATION, trigger=silent, actions=[crash]))


def bury(pool: str) -> None:
    """Mark runs of this work pool as crashed whose process is gone.

    Only for a server of our own: process ids of other machines say nothing.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterState,
        FlowRunFilterStateType,
        WorkPoolFilter,
        WorkPoolFilterName,
    )
    from prefect.client.schemas.objects import State, StateType
    from prefect.states import Crashed

    unended = FlowRunFilterStateType(any_=[StateType.PENDING, StateType.RUNNING, StateType.CANCELLING])
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(
            flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=unended)),
            work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[pool])),
        )
        for run in runs:
            if not _lives(run.infrastructure_pid):
                gone: State[None] = Crashed(
                    message="The process of this run is gone: its worker was killed. Retry the run to go on where it stopped."
                )
                client.set_flow_run_state(run.id, gone, force=True)


def _lives(pid: str | None) -> bool:
    if pid is None or not pid.isdigit():
        return False
    try:
        return bool(psutil.Process(int(pid)).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
