"""Stage two: what was refined becomes training examples, and these an adapter."""

import time

from prefect import flow

from flows.options import RunOptions
from tasks import exhibits, progress
from tasks.runs import Simulated, Tuned, keep, publish_adapter, publish_quarantine, recall
from tasks.tuning import build_examples, fine_tune, settings_for


@flow(name="tune", flow_run_name="tune {options.run}")
def tune(options: RunOptions) -> None:
    """Mix the examples and fine-tune. A model that is only known as an endpoint gets its examples, and no adapter."""
    began, store, settings = time.time(), options.prepare(), options.settings
    simulated = recall(store, options.run, "simulate", Simulated)
    recipe = settings_for(settings.style, options.seed)
    held_out = sorted(instruction.id for instruction in simulated.held_out)
    examples = build_examples(store.uri, simulated.scenes, settings, recipe, held_out)
    adapter = None
    if not options.endpoint:
        with progress.stage("tune", total=1):
            adapter = fine_tune(store.uri, options.model, examples.reference, recipe, settings.style)
        publish_adapter(store, options.run, adapter.reference)
    done = Tuned(
        examples=examples.reference,
        count=examples.count,
        adapter=adapter.reference if adapter else None,
        result=adapter.result if adapter else None,
        gates=examples.gates + (adapter.gates if adapter else []),
        quarantine=examples.quarantine,
        seconds=time.time() - began,
    )
    if examples.quarantine:
        publish_quarantine(store, options.run, [*simulated.quarantines, examples.quarantine])
    keep(store, options.run, "tune", done)
    exhibits.tuned(options.uri, store.locate(done.examples), done)
