"""Printing: it survives a closed pipe, whose reader may be gone before the work is done, and fits a narrow terminal."""

import os
import re
import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from typing import Any

# After white space, and after Chinese, Japanese and Korean characters.
WORD_BREAK = re.compile(r"(?<=\s)|(?<=[\u1100-\u11ff\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef])")
SIZE_UNITS = ("B", "kB", "MB", "GB", "TB")


class BrokenPipeSafeStream:
    """Wraps a stream and drops output once the reader has closed the pipe, instead of raising in the middle of a step."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        """Write, or drop the text if nobody reads any more."""
        try:
            return self.stream.write(text)
        except OSError:
            self.redirect_to_devnull()
            return len(text)

    def flush(self) -> None:
        """Flush, or drop what is buffered if nobody reads any more."""
        try:
            self.stream.flush()
        except OSError:
            self.redirect_to_devnull()

    def redirect_to_devnull(self) -> None:
        """Drop all further output, including what Python flushes when it exits."""
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.stream.fileno())


def prepare_streams() -> None:
    """Print `?` for what the terminal's encoding lacks, and to nowhere if standard output or error is closed (`>&-`)."""
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115  # for the life of the process
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115  # for the life of the process
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


@contextmanager
def ignore_broken_pipe() -> Iterator[None]:
    """Keep working after the reader of standard output or standard error has gone."""
    prepare_streams()
    with redirect_stdout(BrokenPipeSafeStream(sys.stdout)), redirect_stderr(BrokenPipeSafeStream(sys.stderr)):
        yield


def print_wrapped(text: str, file: Any = None) -> None:
    """Print a line, on a terminal broken between words; in a file or a pipe it stays one line."""
    stream = file or sys.stdout
    is_terminal = getattr(stream, "isatty", bool)()  # a notebook's stream may have none
    print("\n".join(map(wrap_line, text.splitlines())) if is_terminal else text, file=stream, flush=True)


def wrap_line(text: str) -> str:
    """A line broken between words to the width of the terminal, its label and what belongs to it indented alike.

    A command at its end stays whole, on a line of its own, to be copied.
    """
    sentence, mark, command = text.partition("with: ")
    if mark and len(text) > shutil.get_terminal_size().columns:
        return f"{wrap_line(sentence + mark.rstrip())}\n  {command}"
    label = re.match(r"\w+( \w+)? {2,}", text)
    indent = " " * (label.end() if label else 0)
    width = shutil.get_terminal_size().columns
    return textwrap.fill(text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def replace_control_characters(text: str) -> str:
    """Text for a terminal, which obeys what a young model writes, such as an escape sequence; lines and tabs stay."""
    return re.sub(r"\r(?!\n|\Z)|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]", "\N{REPLACEMENT CHARACTER}", text)


def signal_safe_print(text: str) -> None:
    """Write to standard error from a signal handler, which must neither wait for a lock nor fail."""
    with suppress(OSError):
        os.write(2, text.encode())


class WordWrapper:
    """Writes text that comes in pieces to a terminal, broken between words, and between characters of Chinese, Japanese and
    Korean; a file or a pipe gets it as it is.
    """

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.width = shutil.get_terminal_size().columns if stream.isatty() else sys.maxsize
        self.column = 0  # cells of the line
        self.gap, self.word = "", ""  # white space after its last word, and a word that may continue

    def write(self, text: str) -> None:
        """Write the words that are complete, and keep the last one."""
        *parts, self.word = re.split(WORD_BREAK, self.word + text)
        for part in parts:
            self.write_word(part)
        self.stream.flush()

    def write_word(self, part: str) -> None:
        """Write a word, on a new line if it does not fit; the white space after it follows with the next one."""
        word = part.rstrip()
        size = count_cells(word)
        if self.column and size and self.column + len(self.gap) + size > self.width:
            self.gap, self.column = "", 0
            self.stream.write("\n")
        if size:
            self.stream.write(self.gap + word)
            self.column += len(self.gap) + size
            self.gap = ""
        self.gap += part[len(word) :]
        if self.gap.endswith("\n"):
            self.end_line()

    def end_line(self) -> None:
        """Write the white space that is left, unless it would make a line of its own."""
        fits = self.column + len(self.gap.rstrip("\n")) <= self.width
        self.stream.write(self.gap if fits else "\n")
        self.gap, self.column = "", 0

    def finish(self) -> None:
        """Write the last word, and end the line."""
        self.write_word(self.word)
        self.gap += "\n" if self.column or self.gap else ""
        self.end_line()
        self.word = ""
        self.stream.flush()


def count_cells(word: str) -> int:
    """The columns of a terminal that a word takes: Chinese, Japanese and Korean characters, and emoji, take two."""
    return sum((unicodedata.east_asian_width(one) in "WF") + (not unicodedata.combining(one)) for one in word)


def format_bytes(size: float) -> str:
    """Bytes in a unit that fits."""
    for unit in SIZE_UNITS:
        if size < 1000 or unit == SIZE_UNITS[-1]:
            break
        size /= 1000
    return f"{size:.0f} {unit}" if size >= 100 or unit == "B" else f"{size:.1f} {unit}"
