"""No completion is paid for twice: not after a kill, not beside another process; and no damaged file costs a run."""

import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest

from flows import cli
from matrix_core.engines.journal import JournalEngine
from matrix_core.engines.journal_file import GROUP, KEPT_DAYS, Journal, Row, entries, open_journal, shares
from matrix_core.errors import UserError
from matrix_core.request import Completion, Message, Request


def ask(text: str, **how: object) -> Request:
    return Request(messages=(Message(role="user", content=text),), **how)


class CountingEngine:
    """A stand-in for a model: answers with the words and the seed, notes what it was asked, fails on demand."""

    def __init__(self, fingerprint: str = "counting") -> None:
        self.fingerprint = fingerprint
        self.asked: list[Request] = []

    def generate(self, requests, progress=None, finished=None):
        out = []
        for index, request in enumerate(requests):
            self.asked.append(request)
            text = request.messages[0].content
            failed = {"finish_reason": "error", "error": "down"} if text == "fail" else {}
            out.append(Completion(text="" if failed else f"{text} {request.seed}", completion_tokens=2, **failed))
            if progress:
                progress(1, 2)
            if finished:
                finished(index, out[-1])
        return out


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "journal" / "j.sqlite"


def again(path: Path) -> None:
    """What follows is done by a process that has the journal to open yet."""
    open_journal.cache_clear()
    assert path.exists()


def test_what_was_answered_is_not_asked_again_and_comes_back_as_it_was(path):
    requests = [ask("a"), ask("b", temperature=1.0, seed=3), ask("half a character \ud800")]
    first = JournalEngine(CountingEngine(), path).generate(requests)
    again(path)
    inner, seen, counted = CountingEngine(), [], []
    second = JournalEngine(inner, path).generate(
        requests, lambda n, tokens: counted.append((n, tokens)), lambda i, completion: seen.append((i, completion.text))
    )
    assert inner.asked == []
    assert [c.model_copy(update={"cached": False}) for c in second] == first
    assert all(c.cached for c in second)
    assert sorted(seen) == [(i, c.text) for i, c in enumerate(first)]
    assert counted == [(1, 0)] * 3


def test_the_seed_counts_where_answers_are_drawn_and_only_there(path):
    engine = JournalEngine(inner := CountingEngine(), path)
    assert [c.text for c in engine.generate([ask("g"), ask("g", seed=7), ask("g", seed=8, top_p=0.1)])] == ["g 0"] * 3
    drawn = [ask("d", temperature=0.2, seed=seed) for seed in (1, 2, 1)]
    assert [c.text for c in engine.generate(drawn)] == ["d 1", "d 2", "d 1"]
    assert len(inner.asked) == 3
    everything = {"json_schema": {}, "max_tokens": 9, "temperature": 0.3, "stop": ("x",)}
    engine.generate([ask("g", **{name: value}) for name, value in everything.items()])
    assert len(inner.asked) == 3 + len(everything)


def test_another_engine_does_not_get_the_answers_of_this_one(path):
    JournalEngine(CountingEngine("one"), path).generate([ask("a")])
    JournalEngine(inner := CountingEngine("two"), path).generate([ask("a")])
    assert len(inner.asked) == 1
    assert [(share.engine, share.completions) for share in shares(path)] == [("one", 1), ("two", 1)]


def test_errors_are_not_kept(path):
    engine = JournalEngine(inner := CountingEngine(), path)
    for _ in range(2):
        assert [c.error for c in engine.generate([ask("fail"), ask("good")])] == ["down", None]
    assert [request.messages[0].content for request in inner.asked] == ["fail", "good", "fail"]


def test_what_was_done_before_the_engine_broke_is_kept(path):
    class Breaking(CountingEngine):
        """Answers two, then breaks."""

        def generate(self, requests, progress=None, finished=None):
            super().generate(requests[:2], progress, finished)
            raise RuntimeError("gone")

    with pytest.raises(RuntimeError, match="gone"):
        JournalEngine(Breaking(), path).generate([ask(t) for t in "abc"])
    JournalEngine(inner := CountingEngine(), path).generate([ask(t) for t in "abc"])
    assert [request.messages[0].content for request in inner.asked] == ["c"]


def test_work_that_is_done_is_forgotten_and_what_other_work_took_from_it_stays(path):
    JournalEngine(CountingEngine(), path, "one").generate([ask("a"), ask("b")])
    assert JournalEngine(inner := CountingEngine(), path, "two").generate([ask("a")])[0].cached
    open_journal(path).forget("one")
    assert [(entry["scope"], entry["completion"]["text"]) for entry in entries(path)] == [("two", "a 0")]
    open_journal(path).forget("two")
    assert not list(entries(path))
    assert inner.asked == []


def test_forgetting_many_pieces_of_work_together_takes_no_more_space_than_forgetting_one(path):
    waves = [f"wave {wave}" for wave in range(20)]
    for wave in waves:
        JournalEngine(CountingEngine(), path, wave).generate([ask(f"{wave} {n} " + "x" * 10_000) for n in range(100)])
    in_all = path.stat().st_size
    open_journal(path).forget(*waves)
    assert not list(entries(path))
    assert sum(file.stat().st_size for file in path.parent.glob(f"{path.name}*")) < in_all / 2


def test_work_that_is_done_anew_goes_on_from_its_own_answers_only(path):
    JournalEngine(CountingEngine(), path, "old").generate([ask("a"), ask("b")])
    JournalEngine(first := CountingEngine(), path, "anew", anew=True).generate([ask("a")])
    JournalEngine(second := CountingEngine(), path, "anew", anew=True).generate([ask("a"), ask("b")])
    assert [[request.messages[0].content for request in inner.asked] for inner in (first, second)] == [["a"], ["b"]]


def test_it_does_not_grow_with_what_nobody_comes_back_for(path):
    JournalEngine(CountingEngine(), path, "left behind").generate([ask(f"{n} " + "x" * 2_000) for n in range(200)])
    open_journal(path).forget("something else")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE completions SET made = made - ?", ((KEPT_DAYS + 1) * 86_400,))
    others = [path.with_name("of-an-old-store.sqlite"), path.with_name("of-an-old-store.damaged"), path.with_name("in-use.sqlite")]
    for other in others:
        other.write_bytes(b"")
    for old in others[:2]:
        os.utime(old, (time.time() - (KEPT_DAYS + 1) * 86_400,) * 2)
    open_journal(path)._close()
    again(path)
    JournalEngine(CountingEngine(), path).generate([ask("new")])
    assert [entry["completion"]["text"] for entry in entries(path)] == ["new 0"]
    open_journal(path)._close()
    assert path.stat().st_size < 100_000
    assert [other.exists() for other in others] == [False, False, True]


KILLED = """
import sys, time
from pathlib import Path
from matrix_core.engines.journal import JournalEngine
from matrix_core.request import Completion, Message, Request

class SlowStubEngine:
    "A stand-in for a model: prints what it is asked, and needs its time after the first few."
    fingerprint = "slow stub"

    def generate(self, requests, progress=None, finished=None):
        out = []
        for index, request in enumerate(requests):
            print(request.messages[0].content, flush=True)
            if index >= int(sys.argv[2]):
                time.sleep(600)
            out.append(Completion(text=request.messages[0].content))
            finished(index, out[-1])
        return out

requests = [Request(messages=(Message(role="user", content=name),)) for name in sys.argv[3].split(",")]
JournalEngine(SlowStubEngine(), Path(sys.argv[1]), "work").generate(requests)
"""


def process(path: Path, quick: int, names: list[str]) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", KILLED, str(path), str(quick), ",".join(names)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def journalled(path: Path) -> set[str]:
    return {entry["completion"]["text"] for entry in entries(path)} if path.exists() else set()


def until_journalled(path: Path, wanted: set[str]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with suppress(UserError):  # it is only just being made
            if wanted <= journalled(path):
                return
        time.sleep(0.02)
    pytest.fail("nothing was journalled within a minute")


def test_a_killed_process_loses_only_what_was_not_answered(path):
    names = [f"n{i}" for i in range(GROUP // 4)]
    killed = process(path, 20, names)
    until_journalled(path, set(names[:20]))
    killed.kill()
    killed.communicate()
    second = process(path, len(names), names)
    asked = second.communicate(timeout=60)[0].split()
    assert second.returncode == 0
    assert asked == names[20:]
    assert journalled(path) == set(names)


def test_two_processes_at_a_time_lose_nothing_and_see_what_the_other_has_kept(path):
    mine, yours = [f"m{i}" for i in range(600)], [f"y{i}" for i in range(600)]
    both = [process(path, 600, mine), process(path, 600, yours)]
    for one in both:
        one.communicate(timeout=60)
        assert one.returncode == 0
    assert journalled(path) == {*mine, *yours}
    third = process(path, 600, [*mine, *yours])
    assert third.communicate(timeout=60)[0] == ""


def test_many_threads_on_one_journal(path):
    inner, failures = CountingEngine(), []

    def work(n: int) -> None:
        try:
            engine = JournalEngine(inner, path, f"work {n}")
            for part in range(4):
                answers = engine.generate([ask(f"{n} {part} {i}") for i in range(50)])
                assert [c.text for c in answers] == [f"{n} {part} {i} 0" for i in range(50)]
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(inner.asked) == len(list(entries(path))) == 6 * 4 * 50


def damaged(path: Path) -> list[str]:
    return sorted(file.name for file in path.parent.iterdir() if "damaged" in file.name)


@pytest.mark.parametrize("how", ["no database", "truncated", "other tables"])
def test_a_damaged_file_is_moved_aside_with_one_warning_and_nothing_is_lost_but_time(how, path, caplog):
    JournalEngine(CountingEngine(), path).generate([ask(f"{n} " + "x" * 500) for n in range(300)])
    open_journal(path)._close()
    if how == "truncated":
        os.truncate(path, path.stat().st_size // 2)
    else:
        path.unlink()
        if how == "no database":
            path.write_bytes(b"This is no database, though it is long enough to be one." * 100)
        else:
            with closing(sqlite3.connect(path)) as connection:
                connection.execute("CREATE TABLE completions (something TEXT)")
    again(path)
    requests = [ask(f"{n} " + "x" * 500) for n in range(300)]
    assert all(c.text for c in JournalEngine(CountingEngine(), path).generate(requests))
    assert damaged(path) == ["j.damaged"]
    assert [record.message.splitlines() for record in caplog.records if "damaged" in record.message] == [
        [caplog.records[0].message]
    ]
    assert JournalEngine(inner := CountingEngine(), path).generate(requests)[0].cached
    assert inner.asked == []


def test_where_no_journal_can_be_the_run_goes_on_with_one_warning(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    engine = JournalEngine(CountingEngine(), tmp_path / "file" / "j.sqlite")
    assert [[c.text for c in engine.generate([ask("a"), ask("b")])] for _ in range(2)] == [["a 0", "b 0"]] * 2
    (record,) = caplog.records
    assert "not journalled" in record.message


def test_a_full_disk_costs_the_journal_and_nothing_else(path, caplog):
    engine = JournalEngine(CountingEngine(), path)
    engine.generate([ask("a")])
    # What SQLite says where a file may not grow is what it says on a full disk.
    journal = open_journal(path)
    assert journal._connection is not None
    pages = journal._connection.execute("PRAGMA page_count").fetchone()[0]
    journal._connection.execute(f"PRAGMA max_page_count = {pages}")
    answers = engine.generate([ask(f"{n} " + "x" * 5_000) for n in range(100)])
    assert len({c.text for c in answers}) == 100
    (record,) = caplog.records
    assert "full" in record.message


def test_a_completion_waits_half_a_second_for_others_not_for_the_end_of_its_batch(path):
    journal = Journal(path)
    journal.add(Row("k", "work", "engine", "{}", Completion(text="alone")))
    until_journalled(path, {"alone"})


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A store whose journal holds two completions."""
    from tasks.journals import journal_file

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    uri = str(tmp_path / "store")
    JournalEngine(CountingEngine(), journal_file(uri), "work").generate([ask("a"), ask("b")])
    return uri


def test_the_command_counts_and_exports(store, tmp_path, capsys):
    file = tmp_path / "out.jsonl"
    assert cli.main(["journal", "--store", store, "--export", str(file), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["completions"] == 2
    assert told["engines"] == [{"engine": "counting", "completions": 2, "bytes": told["bytes"]}]
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert [Request.model_validate(row["request"]) for row in rows] == [ask("a"), ask("b")]
    assert [row["completion"]["text"] for row in rows] == ["a 0", "b 0"]
    assert cli.main(["journal", "--store", store]) == 0
    assert "in all" in capsys.readouterr().out
    assert cli.main(["journal", "--store", str(tmp_path / "other"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["completions"] == 0


def test_the_command_says_in_a_line_what_is_wrong(store, tmp_path, capsys):
    from tasks.journals import journal_file

    assert cli.main(["journal", "--store", store, "--export", str(tmp_path / "no" / "such" / "folder")]) == 2
    assert "--export" in capsys.readouterr().err
    open_journal(journal_file(store))._close()
    journal_file(store).write_bytes(b"no database" * 100)
    assert cli.main(["journal", "--store", store]) == 2
    err = capsys.readouterr().err
    assert "can't be read" in err
    assert len(err.splitlines()) == 1
