"""How `align` runs a stage: in process, or as a run of its own where the flow itself was started from a deployment.

A run of its own can be retried alone, from the UI or with `prefect flow-run retry ID`. When `align` is retried, stages that are
completed are adopted, and the others start anew: what they had finished comes from the cache.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

from prefect import Flow, runtime
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment

from flows.options import RunOptions
from matrix_core.errors import RunError
from tasks import data_docs, exhibits
from tasks.gating import GateError
from tasks.store import open_store


def showing_failed_gates(stage: Callable[[RunOptions], Any]) -> Callable[[RunOptions], Any]:
    """The body of a stage, with Data Docs of the gate that ends it."""

    @wraps(stage)
    def body(options: RunOptions) -> Any:
        try:
            return stage(options)
        except GateError as failed:
            if data_docs.publish(open_store(options.store), options.run, [failed.noted]) is not None:
                exhibits.documented(options.uri)
            raise

    return body


def run_stage(stage: Flow[[RunOptions], Any], options: RunOptions) -> None:
    """Run the stage to its end. Raises what it raised, or a RunError that names its run."""
    if runtime.deployment.id is None:
        stage(options)
        return
    # The run id is fixed here, so that all stages mean the same run even if the file with instructions changes meanwhile.
    parameters = {"options": options.model_dump(mode="json") | {"run_id": options.run}}
    run: FlowRun = run_deployment(f"{stage.name}/{stage.name}", parameters=parameters, poll_interval=1)  # type: ignore[assignment]
    if run.state is None or not run.state.is_completed():
        state = run.state
        why = f"{state.name}: {state.message}" if state else "it has no state"
        raise RunError(f"{stage.name} (run {run.name}, {run.id}) ended {why}; mend that and retry it, then retry this run")
