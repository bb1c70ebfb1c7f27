"""Every kind of bad input: exit code 2, one line that says what, where and what to do, and nothing written.

The real command is called in this process, so that each case takes milliseconds; a few are run as a person runs them.
"""

import contextlib
import gzip
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow
import pytest
from prefect.exceptions import TerminationSignal
from pyarrow import parquet

from flows import interrupts
from flows.allowed import RANGES
from flows.cli import main
from flows.options import RunOptions
from matrix_core.scene import Settings

REPOSITORY = Path(__file__).parents[2]
NOBODY = 65534


@contextlib.contextmanager
def as_somebody_without_rights() -> Iterator[None]:
    """Root may read everything, so root becomes nobody for a moment."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody can enter (pytest's own are closed to others)."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def refused(tmp_path, capsys) -> Callable[..., str]:
    """Calls the command with a store, expects to be refused in one line, and returns that line."""

    def call(*argv: str, store: Path | None = None, code: int = 2) -> str:
        where = tmp_path / "store" if store is None else store
        before = sorted(where.rglob("*")) if where.is_dir() else where.exists()
        assert main([*argv, "--store", str(where)]) == code
        after = sorted(where.rglob("*")) if where.is_dir() else where.exists()
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("matrix-align: ")
        assert err.count("\n") == 1
        assert err.endswith("\n")
        assert after == before, "something was written"
        return err

    return call


FILES = {
    "empty": ("a.jsonl", b"", ["a.jsonl", "no instructions in it", "put in at least one"]),
    "only blank lines": ("a.txt", b"\n  \n\t\n", ["a.txt", "no instructions in it"]),
    "only a header": ("a.csv", b"instruction,x\n", ["a.csv", "no instructions in it"]),
    "not UTF-8": ("a.txt", b"fine\nna\xefve\n", ["a.txt, line 2", "not UTF-8", "0xef at offset 7", "save the file as UTF-8"]),
    "UTF-16": ("a.csv", "instruction\nhi\n".encode("utf-16"), ["a.csv, line 1", "UTF-16", "save the file as UTF-8"]),
    "not JSON": (
        "a.jsonl",
        b'{"prompt": "a"}\n{"prompt": "b",}\n',
        ["a.jsonl, line 2, column 16", "not JSON", "one whole JSON object"],
    ),
    "JSON over several lines": (
        "a.jsonl",
        b'[\n  {"prompt": "a"}\n]\n',
        ["line 1, column 2", "each line must be one whole JSON object"],
    ),
    "JSON that is too deep": ("a.jsonl", b"[" * 200_000, ["a.jsonl, line 1", "can't be read"]),
    "JSON with a number of 5,000 digits": ("a.jsonl", b'{"prompt": "a", "n": ' + b"9" * 5_000 + b"}", ["line 1", "can't be read"]),
    "a list on a line": ("a.jsonl", b'{"prompt": "a"}\n["b"]\n', ["a.jsonl, line 2", "a JSON list, not an object", "write it as"]),
    "a text on a line": ("a.jsonl", b'"b"\n', ["a.jsonl, line 1", "a JSON text, not an object"]),
    "no column": ("a.jsonl", b'{"text": "a", "id": 1}\n', ["a.jsonl, line 1", "found: text, id", "call it 'instruction'"]),
    "no column in CSV": ("a.csv", b"text;id\na;1\n", ["a.csv, line 1", "found: text;id", "call it 'instruction'"]),
    "a column that comes and goes": ("a.jsonl", b'{"prompt": "a"}\n{"goal": "b"}\n', ["line 2", "no 'prompt'", "found: goal"]),
    "two columns of one name": ("a.csv", b"goal,goal\na,b\n", ["a.csv, line 1", "2 columns are called 'goal'", "rename"]),
    "a number for a text": (
        "a.jsonl",
        b'{"prompt": "a"}\n\n{"prompt": 7}\n',
        ["line 3", "'prompt' must be text, not number", "quotes"],
    ),
    "an object for a text": ("a.jsonl", b'{"prompt": {"a": 1}}\n', ["line 1", "'prompt' must be text, not object"]),
    "null": ("a.jsonl", b'{"prompt": null}\n', ["a.jsonl, line 1", "'prompt' is null", "fill it in or drop the row"]),
    "blank": ("a.jsonl", b'{"prompt": " \\n "}\n', ["a.jsonl, line 1", "'prompt' is blank", "fill it in or drop the row"]),
    "a blank cell": ("a.csv", b'id,goal\n1,"a\nb"\n2,\n', ["a.csv, line 4", "'goal' is blank"]),
    "turns that are no list": ("a.jsonl", b'{"turns": "a"}\n', ["line 1", "'turns' must be a list of texts, not text"]),
    "no turns": ("a.jsonl", b'{"turns": []}\n', ["line 1", "'turns' must be a list of texts"]),
    "turns of numbers": ("a.jsonl", b'{"turns": [1]}\n', ["line 1", "'turns' must be text, not number"]),
    "a dialogue without a human": ("a.jsonl", b'{"chosen": "Hello"}\n', ["line 1", "begins with", "Human:"]),
    "rows of uneven length": (
        "a.csv",
        b"goal,x\na,1\nb, c,2\n",
        ["a.csv, line 3", "3 cells under 2 columns", "quote texts that hold commas"],
    ),
    "a quote that is never closed": ("a.csv", b'goal,x\na,1\n"b,2\nc,3\n', ["a.csv, line 3", "not CSV", "quote"]),
    "a stray quote": ("a.csv", b'goal,x\n"a"b,1\n', ["a.csv, line 2", "not CSV", "double their quotes"]),
    "wrong extension": ("a.json", b'{"prompt": "a"}\n', ["a.json", "must end in what it is", "jsonl, csv, txt"]),
    "no extension": ("jsonl", b'{"prompt": "a"}\n', ["must end in what it is"]),
    "a picture": ("a.jsonl", b"\x89PNG\r\n\x1a\n\0\0", ["a.jsonl, line 1", "not UTF-8"]),
    "not gzip": ("a.jsonl.gz", b'{"prompt": "a"}\n', ["a.jsonl.gz", "can't be read", "gzip"]),
    "gzip cut short": ("a.txt.gz", gzip.compress(b"a\nb\n" * 1_000)[:-9], ["a.txt.gz", "can't be read", "check the file"]),
    "not Parquet": ("a.parquet", b"PAR1 not at all PAR1", ["a.parquet", "not a Parquet file that can be read", "write it anew"]),
    "empty Parquet file": ("a.parquet", b"", ["a.parquet", "not a Parquet file that can be read"]),
    "a line without end": ("a.txt", b"x" * (8 * 2**20 + 1), ["a.txt, line 1", "longer than 8 MiB", "one instruction on a line"]),
    "nothing that can be used": ("a.txt", b"\0\n\x1b\n", ["none of the 2 instructions can be used", "line 1", "a NUL byte"]),
}


@pytest.mark.parametrize("kind", FILES)
def test_bad_files(tmp_path, refused, kind):
    name, data, words = FILES[kind]
    (tmp_path / name).write_bytes(data)
    line = refused("run", "--instructions", str(tmp_path / name))
    for word in words:
        assert word in line


PARQUET = {
    "no column": ({"text": ["a"]}, ["found: text", "call it 'instruction'"]),
    "null": ({"goal": ["a", None]}, ["row 2", "'goal' is null"]),
    "numbers": ({"goal": [1, 2]}, ["row 1", "'goal' must be text, not number"]),
    "blank": ({"goal": ["a", "b", " "]}, ["row 3", "'goal' is blank"]),
    "no rows": ({"goal": pyarrow.array([], pyarrow.string())}, ["no instructions in it"]),
    "not UTF-8": ({"goal": pyarrow.array([b"a", b"\xff"]).view(pyarrow.string())}, ["row 2", "not UTF-8"]),
}


@pytest.mark.parametrize("kind", PARQUET)
def test_bad_parquet(tmp_path, refused, kind):
    columns, words = PARQUET[kind]
    parquet.write_table(pyarrow.table(columns), tmp_path / "a.parquet")
    line = refused("run", "--instructions", str(tmp_path / "a.parquet"))
    for word in ["a.parquet", *words]:
        assert word in line


def test_a_damaged_page_in_parquet(tmp_path, refused):
    path = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.table({"goal": [f"do {i}" for i in range(5_000)]}), path, compression="gzip")
    data = bytearray(path.read_bytes())
    data[200:400] = bytes(200)
    path.write_bytes(data)
    assert "not a Parquet file that can be read" in refused("run", "--instructions", str(path))


def test_files_that_are_not_there(tmp_path, refused):
    assert "no such file; check the path" in refused("run", "--instructions", str(tmp_path / "nowhere.jsonl"))
    assert "not a file; name a file" in refused("run", "--instructions", str(tmp_path))
    assert "--instructions is empty" in refused("run", "--instructions", "")
    assert "File name too long" in refused("run", "--instructions", "x" * 5_000 + ".jsonl")
    os.mkfifo(tmp_path / "pipe.jsonl")
    assert "not a file" in refused("run", "--instructions", str(tmp_path / "pipe.jsonl"))


def test_a_file_name_cannot_break_the_line(tmp_path, refused):
    assert "a b\\x1b[2J.jsonl" in refused("run", "--instructions", "a\nb\x1b[2J.jsonl")


def test_a_file_that_may_not_be_read(open_folder, refused):
    path = open_folder / "a.jsonl"
    path.write_text('{"prompt": "a"}\n')
    path.chmod(0)
    store = open_folder / "store"
    store.mkdir(mode=0o777)
    store.chmod(0o777)
    with as_somebody_without_rights():
        line = refused("run", "--instructions", str(path), store=store)
    assert "can't be read (Permission denied): check the file and its permissions" in line


def test_a_store_that_may_not_be_written(open_folder, refused):
    (open_folder / "store").mkdir(mode=0o555)
    with as_somebody_without_rights():
        assert "can't be written to (Permission denied)" in refused("run", store=open_folder / "store")
        assert "can't be written to (Permission denied)" in refused(
            "run", store=open_folder / "new" / "store" if os.geteuid() else open_folder
        )


def test_stores_that_are_none(tmp_path, capsys):
    (tmp_path / "file").write_text("x")
    for uri, words in {
        str(tmp_path / "file"): "is not a folder",
        "s3:///runs": "names no bucket: write s3://bucket/prefix",
        "https://example.org": "https:// aren't supported; use a folder",
        "": "--store is empty",
    }.items():
        assert main(["run", "--store", uri]) == 2
        _, err = capsys.readouterr()
        assert words in err
        assert err.count("\n") == 1
    assert (tmp_path / "file").read_text() == "x"


@pytest.mark.parametrize("command", ["run", "simulate"])
@pytest.mark.parametrize(
    ("option", "values", "allowed"),
    [
        ("--scenes", ["0", "-3", "abc", "1e9", "2.5", "", "1000001", "9" * 5_000], "a whole number from 1 to 1000000"),
        ("--roles", ["0", "99", "-1", "three", "nan"], "a whole number from 1 to 12"),
        ("--steps", ["0", "13", "0x3", "None"], "a whole number from 1 to 12"),
        ("--seed", ["-1", "4294967296", "1.5", "true"], "a whole number from 0 to 4294967295"),
    ],
)
def test_counts(refused, command, option, values, allowed):
    for value in values:
        line = refused(command, option, value)
        assert f"{option} {value[:60]}" in line
        assert f"give {allowed}" in line


def test_counts_allow_what_scenes_allow():
    for name in ("roles", "steps"):
        low, high = RANGES[name]
        assert Settings.model_validate({name: low, "seed": RANGES["seed"][1]})
        assert Settings.model_validate({name: high})
        for beyond in (low - 1, high + 1):
            with pytest.raises(ValueError, match=name):
                Settings.model_validate({name: beyond})


def test_every_wrong_option_is_named_at_once(refused):
    line = refused("run", "--scenes", "0", "--roles", "x", "--questions", "-1", "--judge", "")
    assert "--scenes 0" in line
    assert "--roles x" in line
    assert "--questions -1: give a whole number from 1 to 1000000" in line
    assert "--judge is empty" in line


@pytest.mark.parametrize("run_id", ["../x", "a/b", ".hidden", "a b", "", "x" * 81, "/tmp/x"])
def test_run_ids(refused, run_id):
    assert "can't be used: take 1 to 80 of" in refused("run", "--run-id", run_id)


@pytest.mark.parametrize(
    "url", ["localhost:8000", "ftp://host/v1", "http://", "http://ho st", "http://host:99999", "file:///etc/passwd", ""]
)
def test_urls(refused, url):
    assert "is no http:// or https:// URL; write it like http://localhost:8000/v1" in refused(
        "run", "--endpoint", url, "--model", "m"
    )


def test_judge_urls(refused):
    assert "--judge 'ftp://x' is no http:// or https:// URL" in refused("run", "--judge", "ftp://x")


def test_an_endpoint_needs_to_know_the_model(refused):
    assert "--endpoint needs --model NAME" in refused("run", "--endpoint", "http://localhost:1/v1")


def test_an_endpoint_twice(refused):
    url = "http://localhost:1/v1"
    assert "--endpoint names the same URL twice" in refused("run", "--model", "m", "--endpoint", url, "--endpoint", url)


def test_an_endpoint_that_does_not_answer(tmp_path, refused):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
        (tmp_path / "a.txt").write_text("Name a river.\n")
        assert url in refused("run", "--instructions", str(tmp_path / "a.txt"), "--model", "m", "--endpoint", url)


def test_models_that_are_none(tmp_path, refused):
    (tmp_path / "a.txt").write_text("Name a river.\n")
    (tmp_path / "folder").mkdir()
    for name in (str(tmp_path / "folder"), str(tmp_path / "nowhere"), "../x", "a b"):
        assert name in refused("run", "--instructions", str(tmp_path / "a.txt"), "--model", name)
    assert "--model is empty" in refused("run", "--model", " ")


USAGE = {
    "unknown command": (["rum"], ["No such command 'rum'", "Did you mean 'run'"]),
    "unknown option": (["run", "--scens", "3"], ["No such option: --scens", "--scenes", "matrix-align run --help"]),
    "unknown short option": (["run", "-x"], ["No such option: -x", "matrix-align run --help"]),
    "an argument too many": (["run", "a.jsonl"], ["unexpected extra argument", "a.jsonl", "matrix-align run --help"]),
    "a scene too many": (["show", "x", "1", "2"], ["unexpected extra argument", "2"]),
    "a value for a flag": (["run", "--json=3"], ["'--json' does not take a value"]),
    "an option twice": (
        ["run", "--instructions", "a.txt", "--instructions=b.txt"],
        ["--instructions is given 2 times", "give it once"],
    ),
    "an option that swallows the next": (["run", "--seed", "--roles", "3"], ["--seed has no value before --roles"]),
    "no run": (["tune"], ["Missing argument 'RUN'", "matrix-align tune --help"]),
    "a scene of a quarantine": (["show", "x", "1", "--quarantine"], ["leave the scene out"]),
}


@pytest.mark.parametrize("kind", USAGE)
def test_usage(refused, kind):
    argv, words = USAGE[kind]
    line = refused(*argv)
    for word in words:
        assert word in line


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([], "no command: give one of run, simulate"),
        (["run", "--seed"], "Option '--seed' requires an argument"),
        (["--seed", "3"], "No such option: --seed"),
    ],
)
def test_usage_before_any_store(capsys, argv, words):
    assert main(argv) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert words in err


@pytest.mark.parametrize("command", ["tune", "evaluate", "report", "show"])
def test_runs_that_are_none(tmp_path, refused, command):
    assert "no run x in" in refused(command, "x")
    assert "matrix-align run makes one" in refused(command, "x")
    for made in ("pocket-0123456789", "pocket-aaaaaaaaaa", "mine"):
        (tmp_path / "store" / "runs" / made).mkdir(parents=True)
    assert "did you mean pocket-0123456789?" in refused(command, "pocket-01")
    assert "did you mean pocket-0123456789?" in refused(command, "pocket-0123456798").replace(" or pocket-aaaaaaaaaa", "")
    assert "there are mine, pocket-0123456789, pocket-aaaaaaaaaa" in refused(command, "ZZZ")
    assert "can't be used: take 1 to 80 of" in refused(command, "../x")
    if command != "show":
        assert "has no readable options.json" in refused(command, "mine")


def test_a_run_of_that_id_with_other_options(tmp_path, refused):
    folder = tmp_path / "store" / "runs" / "mine"
    folder.mkdir(parents=True)
    earlier = {
        "model": "pocket",
        "scenes": None,
        "roles": 5,
        "steps": 3,
        "seed": 1,
        "judge": None,
        "endpoint": False,
        "instructions": "?",
    }
    (folder / "options.json").write_text(json.dumps({"options": {}, "identity": earlier}))
    (tmp_path / "a.txt").write_text("Name a river.\n")
    line = refused("run", "--run-id", "mine", "--instructions", str(tmp_path / "a.txt"))
    assert "--run-id mine: that run was started with --roles 5, --seed 1" in line
    assert "take another id" in line


def test_standard_input_that_is_wrong(monkeypatch, refused):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"prompt": ""}\n')))
    assert "standard input, line 1: 'prompt' is blank" in refused("run", "--instructions", "-")


def test_ctrl_c_says_that_the_same_command_goes_on(monkeypatch, refused):
    class Interrupting(io.BytesIO):
        def readline(self, size: int | None = -1, /) -> bytes:
            signal.raise_signal(signal.SIGINT)
            return b""

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(Interrupting()))
    # Whoever starts the tests in the background may have had the signal ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert "interrupted: the same command goes on where it stopped" in refused("run", "--instructions", "-", code=130)
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("stopped", [KeyboardInterrupt(), TerminationSignal(signal.SIGTERM)])
def test_what_fails_because_the_command_was_stopped_counts_as_stopped(stopped):
    gone = ConnectionError("the server is gone, too")
    assert not interrupts.behind(gone)
    gone.__context__ = stopped
    assert interrupts.behind(gone)


def test_a_failed_run_is_1_and_a_traceback_comes_only_with_debug(tmp_path, capsys):
    folder = tmp_path / "runs" / "x"
    folder.mkdir(parents=True)
    (folder / "scenes.jsonl").write_text("nonsense\n")
    assert main(["show", "x", "1", "--store", str(tmp_path)]) == 1
    quiet = capsys.readouterr().err
    assert "line 1 is no Scene" in quiet
    assert quiet.count("\n") == 1
    assert main(["show", "x", "1", "--store", str(tmp_path), "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


def as_a_person(*argv: str, **settings: object) -> subprocess.CompletedProcess[bytes]:
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    return subprocess.run([sys.executable, "-m", "flows.cli", *argv], capture_output=True, env=environment, check=False, **settings)


def test_as_a_person_runs_it(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b'{"prompt": 7}\n')
    for argv, given, words in (
        (["run", "--instructions", "a.jsonl"], b"", b"a.jsonl, line 1: 'prompt' must be text"),
        (["run", "--instructions", "-"], b'{"prompt": \n', b"standard input, line 1, column 12: not JSON"),
        (["run", "--roles", "99"], b"", b"--roles 99: give a whole number from 1 to 12"),
    ):
        done = as_a_person(*argv, input=given, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (2, b"")
        assert words in done.stderr
        assert done.stderr.count(b"\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]


def test_help_imports_nothing_heavy(tmp_path):
    program = (
        "import sys; from flows.cli import main; code = main(['--help']); "
        "heavy = {'torch', 'transformers', 'prefect', 'great_expectations', 'trl', 'pyarrow', 'boto3'} & set(sys.modules); "
        "sys.exit(f'imported {heavy}' if heavy else code)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, cwd=REPOSITORY, check=False)
    assert done.returncode == 0, done.stderr
    assert b"simulate" in done.stdout


def test_options_in_code_are_checked_alike():
    assert RunOptions.of(scenes=5).scenes == 5
    assert RunOptions.of().model_dump() == {
        "instructions": None,
        "model": "pocket",
        "endpoint": (),
        "store": "./matrix-runs",
        "scenes": None,
        "roles": 3,
        "steps": 3,
        "seed": 0,
        "run_id": None,
        "judge": None,
        "questions": None,
        "benchmark": None,
        "data": None,
        "against": None,
        "refresh": None,
        "price": None,
        "max_cost": None,
        "max_tokens": None,
        "method": "matrix",
        "without": (),
        "votes": 1,
        "shares": None,
    }
