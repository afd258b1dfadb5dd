"""The texts in files: plain text, JSON and JSON Lines, as they are or compressed by gzip or zstandard, and Parquet."""

import codecs
import gzip
import io
import json
import re
import zlib
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Literal

from seqlab.errors import UserError, first_line

RECORD_SUFFIXES = (".json", ".jsonl", ".parquet")  # of files that hold records
COMPRESSIONS = (".gz", ".zst")
BLOCK_BYTES = 1 << 20  # read at once


@dataclass(frozen=True)
class TextReader:
    """Reads the documents of a file: a plain text is one, and so is the text under `key` of each record of other formats.

    With `normalize` a byte-order mark is left out, and `\\r\\n` and `\\r` become `\\n`; everything else is kept as it is.
    Bytes that are not UTF-8 are refused (`strict`) or become U+FFFD (`replace`); `remedy` is what else a refusal advises.
    """

    key: str = "text"
    normalize: bool = True
    encoding_errors: Literal["strict", "replace"] = "strict"
    remedy: str = ""

    def read_documents(self, path: Path) -> Iterator[Iterator[str]]:
        """The documents of a file, each in pieces. Raises UserError naming the file and the place in it."""
        suffix = text_suffix(path)
        if suffix == ".parquet":
            values = enumerate(read_parquet_column(path, self.key), 1)
            texts = (self.decode_value(value, n, path) if isinstance(value, bytes) else value for n, value in values)
            yield from self.take_texts(({self.key: text} for text in texts), path)
        elif suffix in (".json", ".jsonl"):
            yield from self.take_texts(self.read_values(path), path)
        else:
            yield self.read_pieces(path)

    def take_texts(self, records: Iterable[Any], path: Path) -> Iterator[Iterator[str]]:
        """The text of each record, as a document of one piece. Raises UserError naming the record."""
        for number, record in enumerate(records, 1):
            yield iter([self.normalize_text(take_text(record, self.key, number, path))])

    def decode_value(self, value: bytes, number: int, path: Path) -> str:
        """The text of a record that is bytes. Raises UserError naming the record."""
        try:
            return value.decode(errors=self.encoding_errors)
        except UnicodeDecodeError as error:
            raise UserError(
                f"Record {number} of {path} is not UTF-8 text (byte {error.start}): fix it{self.remedy}."
            ) from error

    def read_pieces(self, path: Path) -> Generator[str]:
        """A plain text, a block at a time. Raises UserError naming file and byte where it is not UTF-8."""
        decoder = codecs.getincrementaldecoder("utf-8-sig" if self.normalize else "utf-8")(self.encoding_errors)
        newlines = io.IncrementalNewlineDecoder(None, translate=self.normalize)
        position = 0  # of the block in the file
        with open_compressed(path) as file:
            while True:
                block = file.read(BLOCK_BYTES)
                waiting = len(decoder.getstate()[0])  # bytes of a character that was cut in two
                try:
                    piece = newlines.decode(decoder.decode(block, final=not block), final=not block)
                except UnicodeDecodeError as error:
                    raise self.describe_bad_bytes(path, position - waiting, error) from error
                if piece:
                    yield piece
                if not block:
                    return
                position += len(block)

    def read_values(self, path: Path) -> Iterator[Any]:
        """The values of a JSON list, in a file that begins with `[`, an object on several lines, or a value for each line.

        Raises UserError naming the line.
        """
        pieces = self.read_pieces(path)
        beginning = next((piece for piece in pieces if piece.strip()), "")
        pieces.close()
        beginning = beginning.lstrip("\ufeff \t\r\n")
        if text_suffix(path) != ".jsonl" and (beginning.startswith("[") or re.match(r"\{\s*\n", beginning)):
            yield from parse_json("".join(replace(self, normalize=True).read_pieces(path)), path)
        else:
            yield from self.read_json_lines(path)

    def read_json_lines(self, path: Path) -> Iterator[Any]:
        """A value for each line that is not blank; lines end with `\\n` alone. Raises UserError naming the line."""
        position = 0
        with open_compressed(path) as file:
            for number, line in enumerate(file, 1):
                try:
                    text = line.decode("utf-8-sig" if number == 1 else "utf-8", self.encoding_errors)
                    if text.strip():
                        yield json.loads(text.rstrip("\r\n"))  # so that a place at its end is one in this line
                except UnicodeDecodeError as error:
                    raise self.describe_bad_bytes(path, position, error) from error
                except json.JSONDecodeError as error:
                    raise UserError(
                        f"{path} is not JSON: {error.msg} in line {number}, column {error.colno}; fix it there, or write a "
                        "list of records, [{…}, …]."
                    ) from error
                except (RecursionError, ValueError) as error:
                    raise UserError(f"Line {number} of {path} cannot be read as JSON: {str(error)[:80]}.") from error
                position += len(line)

    def normalize_text(self, text: str) -> str:
        """The text of a record, with its ends of lines as they are asked for."""
        return text.replace("\r\n", "\n").replace("\r", "\n") if self.normalize and "\r" in text else text

    def describe_bad_bytes(self, path: Path, position: int, error: UnicodeDecodeError) -> UserError:
        """The error of a file that is not UTF-8; `position` is that of the bytes that were decoded."""
        begins_as_utf16 = position + error.start == 0 and error.object[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
        return UserError(
            f"{path} is not UTF-8 text (byte {position + error.start} is {error.object[error.start]:#04x}): convert it, for "
            f"instance with iconv -f {'utf-16' if begins_as_utf16 else 'latin1'} -t utf-8{self.remedy}."
        )


def text_suffix(path: Path) -> str:
    """The suffix that names a file's format, without that of its compression."""
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() not in COMPRESSIONS]
    return suffixes[-1] if suffixes else ""


@contextmanager
def open_compressed(path: Path) -> Iterator[BinaryIO]:
    """A file's bytes, decompressed. Raises UserError if they cannot be read, or are damaged."""
    suffix = path.suffix.lower()
    try:
        with open(path, "rb") as raw:
            if suffix == ".gz":
                yield gzip.GzipFile(fileobj=raw)  # type: ignore[misc]  # reads bytes as a file does
            elif suffix == ".zst":
                yield io.BufferedReader(import_pyarrow(path).CompressedInputStream(raw, "zstd"))
            else:
                yield raw
    except (EOFError, zlib.error, OSError) as error:
        if suffix in COMPRESSIONS and not getattr(error, "strerror", None):  # a decoder's own
            raise UserError(f"{path} is damaged ({str(error).rstrip('.')}): restore it.") from error
        reason = getattr(error, "strerror", error)
        raise UserError(f"{path} cannot be read ({reason}): name another file with data.path=<file>.") from error


def import_pyarrow(path: Path) -> Any:
    """The library pyarrow. Raises UserError if it is not installed."""
    try:
        import pyarrow  # type: ignore[import-untyped]  # it has no types
    except ModuleNotFoundError:
        raise UserError(f"{path} needs pyarrow, as all {path.suffix} do: pip install 'seqlab[arrow]'.") from None
    return pyarrow


def read_parquet_column(path: Path, key: str) -> Iterator[Any]:
    """The values of a column, bytes where they are not UTF-8. Raises UserError if there is none of that name."""
    pyarrow = import_pyarrow(path)
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            if key not in names:
                raise UserError(f"{path} has no column {key}: name one with data.key=…, there are {', '.join(names)}.")
            for value in (value for batch in file.iter_batches(columns=[key]) for value in batch.column(0)):
                try:
                    yield value.as_py()
                except UnicodeDecodeError:
                    yield value.cast(pyarrow.binary()).as_py()
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"{path} is damaged ({first_line(error)}): restore it.") from error


def read_parquet_records(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a file, values by the names of their columns. Raises UserError."""
    pyarrow = import_pyarrow(path)
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches():
                yield from batch.to_pylist()
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is damaged ({first_line(error)}): restore it.") from error


def take_text(record: Any, key: str, number: int, path: Path) -> str:
    """The text of a record: itself, or what stands under the key. Raises UserError naming the record."""
    text = record.get(key) if isinstance(record, dict) else record
    if isinstance(record, dict) and key in record and not isinstance(text, str):
        found = json.dumps(text, default=str)[:40]
        raise UserError(
            f"Record {number} of {path} has {found} under {key}, which is not text: fix it, or leave it out."
        )
    if not isinstance(text, str):
        keys = f"; it has {', '.join(map(str, record))}" if isinstance(record, dict) else ""
        raise UserError(f"Record {number} of {path} has no text under {key}: name its key with data.key=…{keys}.")
    check_characters(text, f"Record {number} of {path}")
    return text


def check_characters(text: str, place: str) -> None:
    """JSON may write half a character, which UTF-8 may not. Raises UserError for one."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UserError(f"{place} has half a character (a lone surrogate): fix it.") from None


def parse_json(text: str, path: Path) -> Iterable[Any]:
    """The values of a JSON list. Raises UserError naming line and column."""
    try:
        values = json.loads(text)
        return values if isinstance(values, list) else [values]
    except json.JSONDecodeError as error:
        before = text.count("{", 0, error.pos)
        raise UserError(
            f"{path} is not JSON: {error.msg} in line {error.lineno}, column {error.colno}, in or after record {before}; "
            "fix it there."
        ) from error
    except (RecursionError, ValueError) as error:
        raise UserError(f"{path} cannot be read as JSON: {str(error)[:80]}.") from error
