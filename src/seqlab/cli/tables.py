"""What the verbs share that print tables."""

TABLE_WIDTH = 1000  # no column is cut, and a narrow terminal wraps the line

SIZE_UNITS = ("B", "kB", "MB", "GB", "TB")


def format_bytes(size: float) -> str:
    """Bytes in a unit that fits."""
    for unit in SIZE_UNITS:
        if size < 1000 or unit == SIZE_UNITS[-1]:
            break
        size /= 1000
    return f"{size:.0f} {unit}" if size >= 100 or unit == "B" else f"{size:.1f} {unit}"


def format_cell(value: object, digits: int = 5) -> str:
    """A value in a cell: numbers with so many digits, nothing for null."""
    return "" if value is None else f"{value:.{digits}g}" if isinstance(value, float) else str(value)
