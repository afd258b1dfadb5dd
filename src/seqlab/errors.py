"""What a user did wrong, said in one sentence."""

import difflib
import errno
import os
import sys
import traceback
from collections.abc import Callable, Iterable
from typing import Any

from seqlab.streams import BrokenPipeSafeStream

PERMISSION_ERRNOS = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR)
DISK_FULL_ERRNOS = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)


class UserError(ValueError):
    """A user's mistake: the message names the value, the reason and the remedy, and is all that the user sees."""


def did_you_mean(word: str, options: Iterable[str]) -> str:
    """' Did you mean …?' with the options nearest to a misspelt word, or else a list of all options, if it is short."""
    options = sorted(set(options))
    near = difflib.get_close_matches(word, options, n=3, cutoff=0.6)
    if near:
        return f" Did you mean {' or '.join(near)}?"
    return f" There are: {', '.join(options)}." if 0 < len(options) < 40 else ""


class Interrupted(Exception):
    """A run was asked to stop, and has saved what it had."""


def run_cli(action: Callable[[], Any]) -> int:
    """Run a command, which may return an exit status. A user's mistake, a full disk and Ctrl-C end in one sentence.

    HYDRA_FULL_ERROR=1 shows the traceback as well. Any other exception is a bug, and keeps its traceback.
    """
    try:
        status = action()
        return status if isinstance(status, int) else 0
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (UserError, Interrupted, KeyboardInterrupt, OSError) as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1" or (
            isinstance(error, OSError) and error.errno not in DISK_FULL_ERRNOS + PERMISSION_ERRNOS
        ):
            traceback.print_exc()
        print(f"seqlab: {format_error(error)}", file=BrokenPipeSafeStream(sys.stderr))
        return 130 if isinstance(error, Interrupted | KeyboardInterrupt) else 1


def format_error(error: BaseException) -> str:
    """What a user reads of an exception."""
    if isinstance(error, KeyboardInterrupt):
        return "Stopped."
    if isinstance(error, OSError) and error.errno in DISK_FULL_ERRNOS:
        return (
            f"The disk is full, or a limit on file sizes is reached ({error.strerror}): what was written before is whole; "
            "make room, or write elsewhere with paths.runs=<folder>, and go on with resume=<run folder>, or of a sweep "
            "with sweep.resume=<its folder>."
        )
    if isinstance(error, OSError) and error.errno in PERMISSION_ERRNOS:
        return f"{error.filename} cannot be used ({error.strerror}): take another folder or file, such as paths.runs=<folder>."
    return str(error) or type(error).__name__
