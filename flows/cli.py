"""The command `matrix-align`: reads what was asked for, hands it to a flow, and turns failures into one line and an exit code.

0: done; the last line on standard output is the URI of the run. 1: the run failed. 2: bad input or settings. 130: Ctrl-C.
Heavy packages are imported by the commands that need them, so that help and mistakes answer at once.
"""

import io
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Annotated, Any

import typer
from typer.main import get_command

from flows import ablate_command, compare_command, interrupts, journal_command, rate_commands, store_commands
from flows import arguments as arg
from flows.finding import find_run, locate_run
from flows.options import RunOptions
from matrix_core.errors import RunError, UserError
from matrix_core.loading import loading
from tasks.inputs import printable
from tasks.store import open_store

NAME = "matrix-align"
_TAKE_VALUE = {f"--{name.replace('_', '-')}" for name in RunOptions.model_fields} | {
    "--keep-runs",
    "--export",
    "--plan",
    "--pairs",
    "--output",
}

app = typer.Typer(
    name=NAME,
    add_completion=False,
    help="Align a language model by social scene simulation (MATRIX): simulate, criticise, refine, fine-tune, prove.",
)


def _starting(stage: str) -> Callable[..., None]:
    """A command that starts a run: all options of a run, then the stage."""

    def command(
        instructions: arg.Instructions = None,
        model: arg.Model = None,
        endpoint: arg.Endpoint = None,
        store: arg.Store = None,
        scenes: arg.Scenes = None,
        roles: arg.Roles = None,
        steps: arg.Steps = None,
        seed: arg.Seed = None,
        run_id: arg.RunId = None,
        judge: arg.Judge = None,
        questions: arg.Questions = None,
        method: arg.Method = None,
        votes: arg.Votes = None,
        refresh: arg.Refresh = None,
        price: arg.Price = None,
        max_cost: arg.MaxCost = None,
        max_tokens: arg.MaxTokens = None,
        json: arg.Json = False,
        debug: arg.Debug = False,
    ) -> None:
        given = {
            "instructions": instructions,
            "model": model,
            "endpoint": endpoint,
            "store": store,
            "scenes": scenes,
            "roles": roles,
            "steps": steps,
            "seed": seed,
            "run_id": run_id,
            "judge": judge,
            "questions": questions,
            "method": method,
            "votes": votes,
            "refresh": refresh,
            "price": price,
            "max_cost": max_cost,
            "max_tokens": max_tokens,
        }
        options = RunOptions.of(**_without_none(given))
        options.prepare()
        _perform(stage, options, json, debug)

    return command


def _continuing(stage: str) -> Callable[..., None]:
    """A command that takes a run further: its own options stand in the store."""

    def command(
        run: arg.Run, store: arg.Store = None, refresh: arg.Refresh = None, json: arg.Json = False, debug: arg.Debug = False
    ) -> None:
        options = RunOptions.of_run(run, store, **_without_none({"refresh": refresh}))
        options.check()
        _perform(stage, options, json, debug)

    return command


def _without_none(given: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value is not None}


def _perform(stage: str, options: RunOptions, json: bool, debug: bool) -> None:
    """Run the flow of this name and print what it left."""
    _run(stage, options, debug)
    _tell(options, json)


def _run(stage: str, options: RunOptions, debug: bool) -> None:
    """Run the flow of this name, imported now."""
    from importlib import import_module

    from flows.prefect_settings import prefect_for

    with prefect_for(debug):
        with loading():
            flow = getattr(import_module(f"flows.{stage}"), stage)
        flow(options)


app.command("run", help="The whole path: simulate, fine-tune, evaluate, report.")(_starting("align"))
app.command("simulate", help="The first stage alone: scenes and training examples.")(_starting("simulate"))
app.command("tune", help="Fine-tune on the examples of a run.")(_continuing("tune"))
app.command("report", help="Write the report of a run anew.")(_continuing("report"))


app.add_typer(store_commands.app, name="store")
app.add_typer(rate_commands.app, name="rate")
app.command("compare", help=compare_command.HELP)(compare_command.compare)
app.command("journal", help=journal_command.HELP)(journal_command.journal)


@app.command("evaluate", help="Evaluate the adapter of a run.")
def _evaluate_command(
    run: arg.Run,
    benchmark: arg.Benchmark = None,
    data: arg.Data = None,
    model: arg.Against = None,
    store: arg.Store = None,
    judge: arg.Judge = None,
    questions: arg.Questions = None,
    refresh: arg.Refresh = None,
    json: arg.Json = False,
    debug: arg.Debug = False,
) -> None:
    asked = {"benchmark": benchmark, "data": data, "against": model}
    if benchmark is None and (data or model):
        raise UserError("--data and --model are for a benchmark: name it with --benchmark")
    given = asked | {"judge": judge, "questions": questions, "refresh": refresh}
    options = RunOptions.of_run(run, store, **_without_none(given))
    options.check()
    if benchmark is None:
        _perform("evaluate", options, json, debug)
        return
    _run("evaluate", options, debug)
    _perform("report", options, json, debug)


app.command("ablate", help=ablate_command.HELP)(ablate_command.ablate)
app.command("results", help=ablate_command.RESULTS_HELP)(ablate_command.results)


@app.command("up", help="A Prefect server with its UI, a worker, and all deployments; Ctrl-C stops them.")
def _up(
    port: Annotated[
        int | None,
        typer.Option("--port", min=1, max=65535, metavar="N", help="port of the server (default: the first free one from 4200)"),
    ] = None,
    debug: arg.Debug = False,
) -> None:
    from rich.console import Console

    from flows.prefect_settings import no_telemetry
    from flows.up import serve

    no_telemetry()
    serve(port, Console(file=sys.stderr))


@app.command("why", help="What of a run came from the cache, and why the rest did not.")
def _why(
    run: arg.Run,
    step: Annotated[str | None, typer.Argument(metavar="STEP", help="one step: draft, roles, ..., answers, verdicts")] = None,
    store: arg.Store = None,
    json: arg.Json = False,
    debug: arg.Debug = False,
) -> None:
    uri, run_id = locate_run(run, store)
    opened = open_store(uri, writable=False)
    find_run(opened, run_id)
    from rich.console import Console

    from flows import why

    why.show_why(opened, run_id, step, Console(file=sys.stdout), json)


@app.command("show", help="A run as tables, or one of its scenes as a story.")
def _show(
    run: arg.Run,
    scene: Annotated[str | None, typer.Argument(metavar="SCENE", help="id of a scene, its beginning, or a number from 1")] = None,
    quarantine: Annotated[bool, typer.Option("--quarantine", help="what gates took out, and why")] = False,
    store: arg.Store = None,
    json: arg.Json = False,
    debug: arg.Debug = False,
) -> None:
    if quarantine and scene is not None:
        raise UserError("--quarantine lists a whole run: leave the scene out")
    uri, run_id = locate_run(run, store)
    opened = open_store(uri, writable=False)
    find_run(opened, run_id)
    from rich.console import Console

    from flows import show

    console = Console(file=sys.stdout)
    if ablate_command.is_ablation(run_id):
        ablate_command.print_told(ablate_command.found(opened, run_id), json, sys.stdout)
    elif quarantine:
        show.show_quarantine(opened, run_id, console, json)
    elif scene is not None:
        show.show_scene(opened, run_id, scene, console, json)
    else:
        show.show_run(opened, run_id, console, json)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            print(f"{NAME} {version(NAME)}")
        except PackageNotFoundError:
            print(f"{NAME} (not installed)")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version")] = False,
) -> None:
    pass


def _tell(options: RunOptions, json: bool) -> None:
    """The run's tables on standard error, its URI on standard output."""
    from rich.console import Console

    from flows import show

    opened = open_store(options.store, writable=False)
    # A stage by itself leaves no summary of the whole.
    with suppress(UserError):
        show.show_run(opened, options.run, Console(file=sys.stderr), json)
    print(options.uri)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; never raises for a failure that a person can mend."""
    args = list(sys.argv[1:] if argv is None else argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # What the terminal's encoding can't show must not end a run.
        sys.stdout.reconfigure(errors="backslashreplace")
    interrupts.listen()
    try:
        _check_usage(args)
        code = get_command(app).main(args=args, prog_name=NAME, standalone_mode=False)
    except UserError as error:
        return _fail(2, str(error), args)
    except typer.TyperException as error:
        return _fail(error.exit_code, f"{error.format_message()} (see {_command(error)} --help)", args)
    except RunError as error:
        return _fail(1, str(error), args)
    except KeyboardInterrupt:
        return _interrupted(args)
    except Exception as error:
        if interrupts.behind(error):
            return _interrupted(args)
        return _fail(1, f"unexpected {type(error).__name__}: {error} (--debug shows where)", args)
    return _interrupted(args) if code == 130 else int(code or 0)


def _interrupted(args: Sequence[str]) -> int:
    return _fail(130, "interrupted: the same command goes on where it stopped", args)


def _check_usage(args: Sequence[str]) -> None:
    """What typer lets pass: no command, an option given twice, an option that swallows the next one."""
    if not args:
        raise UserError(f"no command: give one of {', '.join(get_command(app).commands)} (see {NAME} --help)")  # type: ignore[attr-defined]
    options = [arg.partition("=")[0] for arg in args if arg.startswith("--")]
    for option, times in Counter(options).items():
        if times > 1 and option != "--endpoint":
            raise UserError(f"{option} is given {times} times: give it once")
    for option, value in pairwise(args):
        if option in _TAKE_VALUE and value.startswith("--"):
            raise UserError(f"{option} has no value before {value}: give one")


def _command(error: Exception) -> str:
    context = getattr(error, "ctx", None)
    return context.command_path if context else NAME


def _fail(code: int, message: str, args: Sequence[str]) -> int:
    if "--debug" in args and code != 130:
        import traceback

        traceback.print_exc()
    print(f"{NAME}: {' '.join(printable(message, 1_500).split())}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
