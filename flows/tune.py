"""Stage two: what was refined becomes training examples, and these an adapter."""

import time

from prefect import flow

from flows.options import RunOptions
from flows.stages import showing_failed_gates
from tasks import exhibits, progress
from tasks.calling import call
from tasks.runs import Done, Simulated, Tuned, keep, publish_adapter, publish_quarantine, recall
from tasks.scenes_io import PARQUET, dump_examples
from tasks.store import Store
from tasks.tuning import build_examples, fine_tune, settings_for


@flow(name="tune", flow_run_name="tune {options.run}")
@showing_failed_gates
def tune(options: RunOptions) -> None:
    """Mix the examples and fine-tune. A model that is only known as an endpoint gets its examples, and no adapter.

    A method that aligns by a prompt alone has neither.
    """
    options = options.continuing()
    began, store, settings = time.time(), options.prepare(), options.settings
    if options.standing is not None:
        _kept(options, store, _nothing(store))
        return
    simulated = recall(store, options.run, "simulate", Simulated)
    recipe = settings_for(settings, options.shares)
    held_out = sorted(instruction.id for instruction in simulated.held_out)
    refresh = options.refresh
    made = call(build_examples, store.uri, store.uri, simulated.shards, settings, recipe, held_out, refresh=refresh == "examples")
    examples, steps = made.result, [Done("examples", made.cached, made.result.why)]
    adapter = None
    if not options.endpoint:
        with progress.stage("tune", total=1):
            tuned = call(
                fine_tune,
                store.uri,
                store.uri,
                options.model,
                examples.reference,
                recipe,
                settings.style,
                refresh=refresh == "fine-tune",
            )
        adapter = tuned.result
        steps.append(Done("fine-tune", tuned.cached, adapter.why))
        publish_adapter(store, options.run, adapter.reference)
    done = Tuned(
        examples=examples.reference,
        count=examples.count,
        adapter=adapter.reference if adapter else None,
        result=adapter.result if adapter else None,
        gates=examples.gates + (adapter.gates if adapter else []),
        quarantine=examples.quarantine,
        steps=steps,
        seconds=time.time() - began,
    )
    if examples.quarantine:
        publish_quarantine(store, options.run, [*simulated.quarantines, examples.quarantine])
    _kept(options, store, done)


def _nothing(store: Store) -> Tuned:
    """What is left where nothing is learned."""
    nothing = store.put(dump_examples([]), PARQUET)
    return Tuned(examples=nothing, count=0, adapter=None, result=None, gates=[], quarantine=None, steps=[], seconds=0)


def _kept(options: RunOptions, store: Store, done: Tuned) -> None:
    keep(store, options.run, "tune", done)
    exhibits.tuned(options.uri, store.locate(done.examples), done)
