"""Stage one: instructions become played scenes, each with a critique and a refined response."""

import time

from prefect import flow

from flows.options import RunOptions
from flows.stages import showing_failed_gates
from matrix_core.errors import RunError
from matrix_core.scene import Instruction, Scene
from tasks import exhibits, journals, progress
from tasks.calling import call, side_by_side
from tasks.engines import Model, engine
from tasks.instructions import admit, divide
from tasks.journals import at_once
from tasks.play import NAMES, STEP_TASKS, Play, Played, Record, Shard, open_shard, taken_over
from tasks.runs import Simulated, each_scene, keep, publish_quarantine, publish_scenes
from tasks.scenes_io import PARQUET, dump_instructions, load_instructions
from tasks.spending import metered

SHARD_SIZE = 1024
"""About how many scenes a shard has: enough that gates and tasks cost little beside the model, few enough to hold in memory."""


@flow(name="simulate", flow_run_name="simulate {options.run}")
@showing_failed_gates
def simulate(options: RunOptions) -> None:
    """Play every instruction's scene to its end. What is finished is not played again."""
    began, store, inputs = time.time(), options.prepare(), options.inputs
    model = Model(name=options.model, endpoints=options.endpoint)
    play = Play(store=store.uri, model=model, settings=options.settings, refresh=options.refresh)
    greedy = play.settings.temperature == 0  # what is asked again in a later wave gets the same answer
    to_play, held_out = divide(inputs.instructions, options.scenes, options.seed, play.settings.style)
    set_aside = [(row.text, row.reason) for row in inputs.rejected]
    asked = store.put(dump_instructions(to_play), PARQUET)
    admitted, known, _ = call(admit, store.uri, play, asked, set_aside, refresh=options.refresh == "instructions")
    records: list[tuple[Record, bool]] = [(admitted.record, known)]
    finished: list[Shard] = []
    shards = shards_of(load_instructions(store.get(admitted.instructions)))
    with (
        metered(store, options.run, engine(model), options.budget) as note_spent,
        progress.stage("simulate", total=sum(map(len, shards)) * waves_expected(options)),
    ):

        def play_shard(index: int) -> tuple[list[tuple[Record, bool]], Shard]:
            noted, works = [], []
            shard = open_shard(play, index, [Scene(instruction=instruction) for instruction in shards[index]])
            while shard.due:
                progress.step(0, f"simulate {index + 1}/{len(shards)}: {NAMES[shard.due]}")
                refresh = options.refresh == shard.due
                step = STEP_TASKS[shard.due]
                played, cached, work = call(step, store.uri, play, shard, refresh=refresh, again=lost_some, more_to_come=greedy)
                note_spent()
                noted.append((played.record, cached))
                works.append(work)
                progress.step(played.record.asked + played.record.reused)
                shard = taken_over(play, played.shard)
            journals.done(store.uri, *works)
            return noted, shard

        for noted, shard in side_by_side(play_shard, range(len(shards)), at_once(model)):
            records += noted
            finished.append(shard)
    if not finished:
        raise RunError("simulate: no scene was finished; `matrix-align show RUN --quarantine` has the reasons")
    kept = [shard.scenes for shard in finished]
    done = Simulated(
        scenes=publish_scenes(store, options.run, kept),
        shards=kept,
        count=sum(shard.count for shard in finished),
        instructions=len(to_play),
        duplicates=inputs.duplicates,
        held_out=held_out,
        records=records,
        seconds=time.time() - began,
    )
    publish_quarantine(store, options.run, done.quarantines)
    keep(store, options.run, "simulate", done)
    exhibits.simulated(options.uri, options.instructions, done, each_scene(store, kept))


def lost_some(played: Played) -> bool:
    """Whether scenes were lost to a failing engine, which may work by now."""
    return played.record.lost > 0


def shards_of(instructions: list[Instruction]) -> list[list[Instruction]]:
    """Instructions by the leading bits of their hash, so that ten new ones touch only the shards that they fall into."""
    bits = (len(instructions) // SHARD_SIZE).bit_length()
    out: dict[int, list[Instruction]] = {}
    for instruction in sorted(instructions, key=lambda i: i.id):
        out.setdefault(int(instruction.id[:8], 16) >> (32 - bits), []).append(instruction)
    return [out[key] for key in sorted(out)]


def waves_expected(options: RunOptions) -> int:
    """How many waves a scene takes part in at most: three to open it, eight and perhaps a memory a round, three to close it."""
    return 3 + 8 * options.steps + options.steps // 2 + 3
