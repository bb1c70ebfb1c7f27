"""The whole path. Reads as the method does: play the scenes, tune on what was refined, prove it on what was held out, report."""

from prefect import flow

from flows.evaluate import evaluate
from flows.options import RunOptions
from flows.report import report
from flows.simulate import simulate
from flows.stages import run_stage
from flows.tune import tune
from tasks import exhibits
from tasks.store import open_store


@flow(name="align", flow_run_name="align {options.run}")
def align(options: RunOptions) -> str:
    """From instructions to report; returns the URI of the run."""
    for stage in (simulate, tune, evaluate, report):
        run_stage(stage, options)
    exhibits.aligned(open_store(options.store), options.run)
    return options.uri
