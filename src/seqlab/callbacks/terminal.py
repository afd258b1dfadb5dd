"""What a run says on the terminal at its beginning and at its end."""

from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer
from rich.console import Console
from rich.table import Table

from seqlab.runs.folder import relative_to_cwd


def print_header(run: Path, data: Any, parameters: dict[str, int], trainer: Trainer, resumed: int | None) -> None:
    """Folder, sizes, and where a resumed run goes on."""
    console = Console(highlight=False, soft_wrap=True)
    trained = f", {parameters['trainable']:,} trained" if parameters["trainable"] != parameters["total"] else ""
    sizes = " + ".join(f"{len(samples):,} {split}" for split, samples in data.splits.items())
    batches = -(-len(data.splits["train"]) // data.batch_size)
    console.print(f"run         {relative_to_cwd(run)}", markup=False)
    console.print(f"parameters  {parameters['total']:,}{trained}")
    console.print(f"samples     {sizes}; {batches:,} batch{'es' if batches != 1 else ''} of {data.batch_size} an epoch")
    if getattr(data, "dropped", 0):
        console.print(f"left out    {data.dropped} records longer than data.context_length={data.context_length}")
    if resumed is not None:
        console.print(f"resumed     after step {resumed:,}")


def print_summary(run: Path, runs: str, last: dict[str, float], best: dict[str, float]) -> None:
    """A table of the metrics, and where everything lies."""
    console = Console(highlight=False, soft_wrap=True)
    table = Table(box=None, pad_edge=False)
    table.add_column("metric")
    table.add_column("last", justify="right")
    table.add_column("at the best objective", justify="right")
    for name in sorted(last):
        table.add_row(name, f"{last[name]:.5g}", f"{best[name]:.5g}" if name in best else "")
    console.print(table)
    console.print(f"run         {relative_to_cwd(run)}", markup=False)
    console.print(f"look        tensorboard --logdir {relative_to_cwd(Path(runs))}", markup=False)
