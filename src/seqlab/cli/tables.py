"""What the verbs share that print tables."""

import shutil
import sys
from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

from seqlab.streams import print_wrapped

GAP = 2  # spaces between columns


def format_cell(value: object, digits: int = 5) -> str:
    """A value in a cell: numbers with so many digits, nothing for null."""
    return "" if value is None else f"{value:.{digits}g}" if isinstance(value, float) else str(value)


def print_table(titles: list[str], rows: list[list[str]], text_columns: int, optional: Sequence[str] = ()) -> None:
    """Print a table whose first `text_columns` are aligned at the left.

    A terminal that is too narrow shows it without some of the `optional` columns, the first ones first, and says so; a file
    or a pipe has all of them.
    """
    left_out: list[str] = []
    width = shutil.get_terminal_size().columns
    for title in optional:
        if sys.stdout.isatty() and table_width(titles, rows) > width and title in titles:
            number = titles.index(title)
            titles, rows = (
                [*titles[:number], *titles[number + 1 :]],
                [[*row[:number], *row[number + 1 :]] for row in rows],
            )
            text_columns -= number < text_columns
            left_out.append(title)
    table = Table(box=None, pad_edge=False)
    for number, title in enumerate(titles):
        table.add_column(title, justify="left" if number < text_columns else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    Console(highlight=False, markup=False, width=max(width, table_width(titles, rows))).print(table)
    if left_out:
        print_wrapped(f"without     {', '.join(left_out)}, for which {width} columns are too few")


def table_width(titles: list[str], rows: list[list[str]]) -> int:
    """The columns that a table needs."""
    return sum(max(map(cell_len, column)) + GAP for column in zip(titles, *rows, strict=True)) - GAP
