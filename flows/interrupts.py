"""What stops a command from outside: Ctrl-C, and SIGTERM, as containers, schedulers and `timeout` send it."""

import signal
from contextlib import suppress


def listen() -> None:
    """Have SIGTERM end the command as Ctrl-C does; nothing in a thread, where signals can't be had."""
    with suppress(ValueError):
        signal.signal(signal.SIGTERM, signal.default_int_handler)


def behind(error: BaseException) -> bool:
    """Whether a failure only followed from being stopped: the run's own Prefect server may be gone by it, too."""
    from prefect.exceptions import TerminationSignal

    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, (KeyboardInterrupt, TerminationSignal)):
            return True
        cause = cause.__cause__ or cause.__context__
    return False
