"""Errors that a user can fix, each printed as one sentence."""

import difflib
import errno
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterable
from typing import Any

from seqlab.streams import BrokenPipeSafeStream, print_wrapped

FILE_ERRNOS = (  # of a file or folder that cannot be used
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EIO,
    errno.ELOOP,
    errno.ENAMETOOLONG,
)
RESOURCE_ERRNOS = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE)
DISK_FULL_ERRNOS = (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC))  # Windows has no EDQUOT


class UserError(ValueError):
    """An error that the user can fix. The message names the value, the reason and the remedy, and is all they see."""


class Interrupted(Exception):
    """The run was asked to stop, and what it had was saved."""


def check_kind(made: Any, kind: type | tuple[type, ...], what: str) -> None:
    """Raises UserError for what a user's own code has made, if it is of another kind than is needed."""
    if not isinstance(made, kind):
        names = " or ".join(each.__name__ for each in (kind if isinstance(kind, tuple) else (kind,)))
        raise UserError(
            f"{what} gives {'nothing' if made is None else type(made).__name__} instead of a {names}: fix it."
        )


def first_line(error: BaseException, length: int = 160) -> str:
    """The beginning of what an error says, or else its type."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:length]


def did_you_mean(name: str, options: Iterable[str]) -> str:
    """' Did you mean …?' with the options closest to a misspelt name, or all options if they are few."""
    options = sorted(set(options))
    lower = {option.lower(): option for option in options}
    if name.lower() in lower:
        return f" Did you mean {lower[name.lower()]}?"
    close = difflib.get_close_matches(name, options, n=3, cutoff=0.6)
    if close:
        return f" Did you mean {' or '.join(close)}?"
    return f" Options: {', '.join(options)}." if 0 < len(options) < 40 else ""


def run_cli(action: Callable[[], Any]) -> int:
    """Run a command and return its exit status: what `action` returns if that is a number, else 0.

    A user error, a full disk and Ctrl-C are printed as one sentence; `HYDRA_FULL_ERROR=1` prints the traceback as well.
    Any other exception is a bug and keeps its traceback.
    """
    sys.unraisablehook = raise_interrupt_later
    try:
        status = action()
        return status if isinstance(status, int) else 0
    except BrokenPipeError:  # the reader, such as head, has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (UserError, Interrupted, KeyboardInterrupt, OSError) as error:
        known = not isinstance(error, OSError) or error.errno in DISK_FULL_ERRNOS + FILE_ERRNOS + RESOURCE_ERRNOS
        if os.environ.get("HYDRA_FULL_ERROR") == "1" or not known:
            traceback.print_exc()
        print_wrapped(f"seqlab: {format_error(error)}", BrokenPipeSafeStream(sys.stderr))
        return 130 if isinstance(error, Interrupted | KeyboardInterrupt) else 1


def raise_interrupt_later(unraisable: Any) -> None:
    """Ctrl-C that came within a finalizer or a callback of Python's own imports, which would print and forget it."""
    if unraisable.exc_type is KeyboardInterrupt:
        threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGINT)).start()  # here it would be within one again
    else:
        sys.__unraisablehook__(unraisable)


def is_out_of_memory(error: BaseException) -> bool:
    """True for Python's, NumPy's and torch's error of an allocation that failed, on any device."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and "can't allocate memory" in str(error))
    )


def format_error(error: BaseException) -> str:
    """The sentence that a user reads."""
    if isinstance(error, KeyboardInterrupt):
        return "Stopped."
    if isinstance(error, OSError) and error.errno in DISK_FULL_ERRNOS:
        return (
            f"The disk is full, or a limit on file sizes is reached ({error.strerror}). What was written before is complete: "
            "free some space, or write elsewhere, such as with paths.runs=<folder>. A training is continued with "
            "resume=<run folder>, a sweep with sweep.resume=<its folder>."
        )
    if isinstance(error, OSError) and error.errno in RESOURCE_ERRNOS:
        return (
            f"This machine has no more processes, memory or open files to give ({error.strerror}): end other work, and type "
            "the command again."
        )
    if isinstance(error, OSError) and error.errno in FILE_ERRNOS:
        name = error.filename or "A file"  # reading one names none
        return f"{name} cannot be used ({error.strerror}): use another folder or file, such as paths.runs=<folder>."
    return str(error) or type(error).__name__
