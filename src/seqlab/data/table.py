"""Numbers from a CSV or a Parquet file."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from seqlab.data.readers import import_pyarrow
from seqlab.errors import UserError, did_you_mean, first_line

MISSING = ("", "na", "n/a", "nan", "null", "none", "-")


def read_columns(
    path: Path, columns: Sequence[str] | None, delimiter: str = ",", may_miss: bool = True
) -> tuple[list[str], np.ndarray]:
    """The names of columns and their values (N, C), NaN where there is none; without names, of all columns of numbers.

    The first line names the columns. Raises UserError naming line and column for text in a number's place, and for an empty
    cell unless they `may_miss`; the lines of a Parquet file are counted as if it were CSV.
    """
    rows = read_parquet_rows(path) if path.suffix.lower() == ".parquet" else read_csv_rows(path, delimiter)
    while rows and not any(rows[-1][1]):
        rows.pop()  # blank lines at the end
    if len(rows) < 2:
        raise UserError(f"{path} has {len(rows)} lines: it needs one with the names of columns, and one for each step.")
    names = [name.strip() for name in rows[0][1]]
    if columns is None:
        cells = [[row[place] for _, row in rows[1:] if place < len(row)] for place in range(len(names))]
        columns = [name for name, column in zip(names, cells, strict=True) if name and holds_numbers(column)]
        if not columns:
            raise UserError(f"{path} has no column of numbers (is the delimiter {delimiter!r}?): set data.delimiter.")
        are_values = all(map(is_number, names)) or not all(name.isdigit() for name in columns)  # no numbers of sensors
        if path.suffix.lower() != ".parquet" and all(map(is_number, columns)) and are_values:
            raise UserError(f"{path} begins with numbers: write the names of its columns into the first line.")
    for name in columns:
        if name not in names:
            raise UserError(f"{path} has no column {name}.{did_you_mean(name, names)}")
        if names.count(name) > 1 or columns.count(name) > 1:
            raise UserError(f"{path} has the column {name} twice, or it was asked for twice: give each another name.")
    for line, row in rows:
        if any(cell.strip() for cell in row[len(names) :]):
            raise UserError(
                f"Line {line} of {path} has {len(row)} cells, and the first line names {len(names)} columns: fix it, or set "
                f"data.delimiter, which is {delimiter!r}."
            )
    places = [names.index(name) for name in columns]
    values = [[read_number(row, place, line, path, names) for place in places] for line, row in rows[1:]]
    table = np.array(values, dtype=np.float64)
    if not may_miss and np.isnan(table).any():
        row, column = np.argwhere(np.isnan(table))[0]
        raise UserError(
            f"{path} has {int(np.isnan(table).sum())} empty cells, the first in line {rows[1 + row][0]} under "
            f"{columns[column]}: fill them, or leave them out of the loss with data.missing=mask."
        )
    return list(columns), table


def read_csv_rows(path: Path, delimiter: str) -> list[tuple[int, list[str]]]:
    """The cells of each line, with its number. Raises UserError."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, delimiter=delimiter)
            return [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} cannot be read as CSV ({error}): name another file with data.path=<file>.") from error


def read_parquet_rows(path: Path) -> list[tuple[int, list[str]]]:
    """The same of a Parquet file. Raises UserError."""
    pyarrow = import_pyarrow(path)
    from pyarrow import parquet  # type: ignore[import-untyped]  # it has no types

    try:
        table = parquet.read_table(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"{path} is damaged ({first_line(error)}): restore it.") from error
    columns = [["" if value is None else str(value) for value in column.to_pylist()] for column in table.columns]
    return list(enumerate([table.column_names, *map(list, zip(*columns, strict=True))], 1))


def holds_numbers(cells: list[str]) -> bool:
    """True if at least half of a column's cells that are not missing are numbers; a column without any is all missing."""
    said = [cell for cell in cells if cell.strip().lower() not in MISSING]
    return bool(cells) and 2 * sum(map(is_number, said)) >= len(said)


def is_number(text: str) -> bool:
    """True for a number, and for one that is missing."""
    try:
        float(text)
    except ValueError:
        return text.strip().lower() in MISSING
    return True


def read_number(row: list[str], place: int, line: int, path: Path, names: list[str]) -> float:
    """One value. Raises UserError for text, and a line that ends before it."""
    if not row:  # a blank line, the empty cell of a file with one column
        row = [""] if len(names) == 1 else []
    if place >= len(row):
        raise UserError(f"Line {line} of {path} ends before the column {names[place]}: add it, or remove the line.")
    text = row[place].strip()
    if text.lower() in MISSING:
        return float("nan")
    try:
        number = float(text)
    except ValueError as error:
        raise UserError(
            f"Line {line} of {path} has {text[:40]!r} under {names[place]}, not a number: fix it, or name the "
            "other columns with data.columns=[…]."
        ) from error
    if not np.isfinite(number):
        raise UserError(f"Line {line} of {path} has {text} under {names[place]}: write a number, or leave it empty.")
    return number
