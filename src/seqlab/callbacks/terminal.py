"""What a run prints at its start and at its end."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from seqlab.runs.folder import relative_to_cwd
from seqlab.streams import format_bytes, wrap_line


def print_header(
    run: Path, data: Any, info: dict[str, Any], resumed_step: int | None, saves: bool, optimizer_bytes: int
) -> None:
    """Folder, base, sizes, and the step from which a resumed run continues."""
    console = Console(highlight=False, soft_wrap=True)
    total, trainable = info["parameters"]["total"], info["parameters"]["trainable"]
    trained = f"{trainable:,} trained ({trainable / total:.2%}), {total - trainable:,} frozen"
    sizes = " + ".join(f"{len(samples):,} {split}" for split, samples in data.splits.items())
    samples = len(data.splits["train"])
    batches, batch_size = -(-samples // data.batch_size), min(samples, data.batch_size)
    console.print(f"run         {relative_to_cwd(run)}", markup=False)
    if info["base"]:
        path, family = Path(info["base"]["path"]), info["base"].get("family")
        reader = "by transformers" if family == "other" else f"as {family}"
        is_hf = family and (path / "config.json").is_file()  # and no run that began from such a folder
        console.print(f"base        {relative_to_cwd(path)}{f', read {reader}' if is_hf else ''}", markup=False)
    optimizer = f"optimizer {format_bytes(optimizer_bytes)}"
    console.print(f"parameters  {trained if trainable != total else f'{total:,}'}; {optimizer}")
    console.print(f"samples     {sizes}; {batches:,} batch{'es' if batches != 1 else ''} of {batch_size} an epoch")
    if data.columns:
        console.print(f"columns     {', '.join(data.columns)}", markup=False)
    for notice in data.notices:
        console.print(wrap_line(f"data        {notice}"), markup=False)
    if not saves:
        console.print("checkpoints none, since callbacks.checkpoint is left out: nothing can be resumed or evaluated")
    if resumed_step is not None:
        console.print(f"resumed     after step {resumed_step:,}")


def print_summary(run: Path, runs: str, last: dict[str, float], best: dict[str, float], objective: Any) -> None:
    """The metrics, and where to look at them."""
    console = Console(highlight=False, soft_wrap=True)
    table = Table(box=None, pad_edge=False)
    table.add_column("metric")
    table.add_column("last", justify="right")
    step = "" if objective.best_step is None else f" (step {objective.best_step:,})"
    table.add_column(f"at the best {objective.metric}{step}", justify="right")
    for name in sorted(last | best):
        table.add_row(name, *(f"{metrics[name]:.5g}" if name in metrics else "" for metrics in (last, best)))
    console.print(table)
    console.print(f"run         {relative_to_cwd(run)}", markup=False)
    if any(run.glob("events.out.tfevents.*")):
        console.print(f"look        tensorboard --logdir {relative_to_cwd(Path(runs))}", markup=False)
    elif (file := run / "csv" / "metrics.csv").is_file():
        console.print(f"look        {relative_to_cwd(file)}", markup=False)
