"""`matrix-align up`: a Prefect server (or the one that `PREFECT_API_URL` names), a work pool, a worker, and all deployments.

What it has started it stops again, in the opposite order, on Ctrl-C or SIGTERM; nothing else is touched. A worker that dies is
started again, and the runs that died with it are marked as crashed, so that they can be retried.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx
from rich.console import Console

import flows
from flows import lost_runs
from flows.prefect_settings import RECORDED_TOGETHER
from matrix_core.errors import RunError, UserError

POOL, QUEUE = "matrix", "model"
ROOT = Path(flows.__file__).parent.parent
"""Where `deployments.yaml` lies, and from where the worker imports the flows."""
FIRST_PORT, PORTS = 4200, 50
_HOST = "127.0.0.1"
_STARTS = 180.0
"""Seconds after which a server that does not answer is given up."""
_STOPS = 20.0
_COMES_UP = 10.0
"""A worker that ends sooner is not started again."""


def serve(port: int | None, console: Console) -> None:
    """Start everything, say where the UI is, and wait for Ctrl-C or SIGTERM.

    Raises UserError for a port that is taken or a server that does not answer, RunError if something ends by itself.
    """
    from prefect.settings import PREFECT_API_URL, temporary_settings

    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with ExitStack() as started:
        joined, server = os.environ.get("PREFECT_API_URL"), None
        if joined:
            if port is not None:
                raise UserError(f"--port {port}: PREFECT_API_URL names the server to join, {joined}; unset it, or leave --port out")
            _check(joined)
            api = joined.rstrip("/")
        else:
            api, server = _server(started, _free_port(port, console), console, stop)
        os.environ["PREFECT_API_URL"] = api
        # Prefect has read the environment already: this process would start a server of its own for each question.
        started.enter_context(temporary_settings({PREFECT_API_URL: api}))
        if not stop.is_set():
            with console.status("register the deployments"):
                _pool()
                _deploy()
                if joined:
                    _watch(console)
            print(api.removesuffix("/api"), flush=True)
            console.print(f"Prefect UI: {api.removesuffix('/api')} (Deployments > align > Run; Ctrl-C stops what was started here)")
            console.print(f"From another shell: PREFECT_API_URL={api} prefect deployment run align/align --watch")
        while not stop.is_set():
            if server:
                lost_runs.bury(POOL)
            _work(server, stop)
            if not stop.is_set():
                console.print(f"the worker ended by itself: it is started again; what it said stands in {_log('worker')}")
        console.print("stopping ...")


def _work(server: "subprocess.Popen[bytes] | None", stop: threading.Event) -> None:
    """Run a worker until it ends or everything has to. RunError if the server ended, or if the worker doesn't come up."""
    began = time.monotonic()
    name = f"matrix-{socket.gethostname()}-{os.getpid()}"
    # Prefect's own 10 seconds between two looks for work are meant for a server that many workers ask.
    settings = {"PREFECT_WORKER_QUERY_SECONDS": os.environ.get("PREFECT_WORKER_QUERY_SECONDS", "2")} if server else {}
    settings["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] = str(lost_runs.BEAT)
    with _child(["worker", "start", "--pool", POOL, "--type", "process", "--name", name], **settings) as worker:
        while not stop.wait(0.5):
            if server is not None and server.poll() is not None:
                raise RunError(f"the Prefect server ended by itself (exit {server.returncode}); see {_log('server')}")
            if worker.poll() is not None:
                if time.monotonic() - began < _COMES_UP:
                    raise RunError(f"the worker does not come up (exit {worker.returncode}); see {_log('worker')}")
                return


def _free_port(wanted: int | None, console: Console) -> int:
    """The port that is asked for, else the first free one from 4200. UserError if there is none."""
    if wanted is not None:
        if not _is_free(wanted):
            raise UserError(f"--port {wanted} is taken: give another, or leave it out and the next free one is used")
        return wanted
    port = next((port for port in range(FIRST_PORT, FIRST_PORT + PORTS) if _is_free(port)), None)
    if port is None:
        raise UserError(f"no port from {FIRST_PORT} to {FIRST_PORT + PORTS - 1} is free: give one with --port")
    if port != FIRST_PORT:
        console.print(f"port {FIRST_PORT} is taken by another program, so this server gets port {port}")
    return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError:
            return False
    return True


def _server(started: ExitStack, port: int, console: Console, stop: threading.Event) -> tuple[str, "subprocess.Popen[bytes]"]:
    """(API URL, process) of a server that answers."""
    api = f"http://{_HOST}:{port}/api"
    command = ["server", "start", "--host", _HOST, "--port", str(port)]
    settings = {name: os.environ.get(name, value) for name, value in RECORDED_TOGETHER.items()}
    child = started.enter_context(_child(command, PREFECT_SERVER_UI_API_URL=api, **settings))
    until = time.monotonic() + _STARTS
    with console.status("start the Prefect server (about ten seconds)"):
        while not stop.wait(0.25):
            if child.poll() is not None:
                raise RunError(f"the Prefect server ended while it started (exit {child.returncode}); see {_log('server')}")
            if _answers(api):
                break
            if time.monotonic() > until:
                raise RunError(f"the Prefect server does not answer at {api} after {_STARTS:.0f} s; see {_log('server')}")
    return api, child


def _answers(api: str) -> bool:
    try:
        return httpx.get(f"{api}/health", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def _check(api: str) -> None:
    try:
        answer = httpx.get(f"{api.rstrip('/')}/health", timeout=10)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise UserError(
            f"PREFECT_API_URL={api} does not answer ({error}): start that server, or unset it to start one here"
        ) from error
    if answer.status_code != 200:
        raise UserError(f"PREFECT_API_URL={api} answers {answer.status_code} to /health: it must be the API of a Prefect server")


def _log(name: str) -> Path:
    from prefect.settings import PREFECT_HOME

    folder = Path(str(PREFECT_HOME.value()), "matrix-align")
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{name}.log"


@contextmanager
def _child(arguments: Sequence[str], **environment: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A `prefect` command in the background, in a session of its own: Ctrl-C must not reach it before it is its turn to end."""
    with _log(arguments[0]).open("ab") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "prefect", *arguments],
            cwd=ROOT,
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield child
    finally:
        child.terminate()
        try:
            child.wait(_STOPS)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()


def _pool() -> None:
    """The work pool, and the queue in which stages wait for the one slot; what is there already stays as somebody has set it."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectAlreadyExists
    from prefect.workers.process import ProcessWorker

    template = ProcessWorker.get_default_base_job_template()
    with get_client(sync_client=True) as client:
        try:
            client.create_work_pool(WorkPoolCreate(name=POOL, type="process", base_job_template=template))
        except ObjectAlreadyExists:
            if (there := client.read_work_pool(POOL).type) != "process":
                raise UserError(f"this server has a work pool {POOL!r} of type {there!r}: it must be of type 'process'") from None
        with suppress(ObjectAlreadyExists):
            client.create_work_queue(QUEUE, work_pool_name=POOL, concurrency_limit=1)


def _watch(console: Console) -> None:
    try:
        lost_runs.watch()
    except httpx.HTTPStatusError as error:
        told = f"the server takes no automation from us ({error.response.status_code})"
        console.print(f"{told}: runs of a machine that dies stay Running until somebody cancels them")


def _deploy() -> None:
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", "deployments.yaml"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())
        raise RunError(f"the deployments in {ROOT / 'deployments.yaml'} can't be registered: {said[-600:]}")
