"""The options of the command line, each described as `RunOptions` describes it."""

from typing import Annotated, Any

import typer

from flows.options import RunOptions


def _option(name: str, metavar: str) -> Any:
    """An option as RunOptions describes it. Counts are read as text: RunOptions says what is wrong with one."""
    described = RunOptions.model_fields[name]
    default = described.default
    shown = "" if default is None or default == () else f" (default {default})"
    return typer.Option(f"--{name.replace('_', '-')}", metavar=metavar, show_default=False, help=f"{described.description}{shown}")


Instructions = Annotated[str | None, _option("instructions", "FILE")]
Model = Annotated[str | None, _option("model", "NAME")]
Endpoint = Annotated[list[str] | None, _option("endpoint", "URL")]
Store = Annotated[str | None, _option("store", "URI")]
Scenes = Annotated[str | None, _option("scenes", "N")]
Roles = Annotated[str | None, _option("roles", "N")]
Steps = Annotated[str | None, _option("steps", "N")]
Seed = Annotated[str | None, _option("seed", "N")]
RunId = Annotated[str | None, _option("run_id", "ID")]
Judge = Annotated[str | None, _option("judge", "NAME|URL")]
Benchmark = Annotated[str | None, _option("benchmark", "NAME|FILE")]
Data = Annotated[str | None, _option("data", "FILE")]
Against = Annotated[
    str | None,
    typer.Option("--model", metavar="NAME", show_default=False, help=str(RunOptions.model_fields["against"].description)),
]
Questions = Annotated[str | None, _option("questions", "N")]
Method = Annotated[str | None, _option("method", "NAME")]
Votes = Annotated[str | None, _option("votes", "N")]
Refresh = Annotated[str | None, _option("refresh", "STEP")]
Price = Annotated[str | None, _option("price", "PROMPT,COMPLETION")]
MaxCost = Annotated[str | None, _option("max_cost", "USD")]
MaxTokens = Annotated[str | None, _option("max_tokens", "N")]
Json = Annotated[bool, typer.Option("--json", help="print tables as JSON")]
Debug = Annotated[bool, typer.Option("--debug", help="print the traceback of a failure")]
Run = Annotated[str, typer.Argument(metavar="RUN", help="id of the run, or its URI")]
