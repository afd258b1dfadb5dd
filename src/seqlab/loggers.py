"""The TensorBoard logger: events in the run folder itself, and hyperparameters that rank runs of different models."""

from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from torch.utils.tensorboard.summary import hparams

# The tab CUSTOM SCALARS: what belongs together in one chart.
CUSTOM_SCALARS = {"losses": {"loss": ["Multiline", ["train/loss", "val/loss"]]}}


class TensorBoard(TensorBoardLogger):
    """Scalars, figures and text of one run.

    `purge_step` hides what an interrupted run logged beyond its checkpoint; what it logged at that very step is not logged
    again.
    """

    def __init__(self, run: Path, config: dict[str, Any], command: str = "", purge_step: int | None = None) -> None:
        super().__init__(save_dir=run.parent, name=run.name, version="", default_hp_metric=False, purge_step=purge_step)
        self.config, self.command = config, command
        self.resumed = None if purge_step is None else purge_step - 1
        self.there = read_tags(run, self.resumed) if self.resumed else set()
        self.begin()

    @rank_zero_only
    def begin(self) -> None:
        """Write the start of the hyperparameters' session, the command and the config."""
        _, start, _ = hparams(flatten(self.config), {})
        self.experiment.file_writer.add_summary(start)
        self.experiment.add_text("command", f"    {self.command}", 0)
        self.experiment.add_custom_scalars(CUSTOM_SCALARS)
        text = yaml.safe_dump(self.config, sort_keys=False, allow_unicode=True)
        self.experiment.add_text("config", "".join(f"    {line}\n" for line in text.splitlines()), 0)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write the session's end; every scalar is then a metric of it."""
        _, _, end = hparams(flatten(self.config), {})
        self.experiment.file_writer.add_summary(end)
        self.experiment.flush()

    @rank_zero_only
    def conclude(self, best: dict[str, float], step: int) -> None:
        """The metrics at the best objective, as columns beside the last ones."""
        self.log_metrics({f"best/{name}": value for name, value in best.items()}, step)
        self.experiment.flush()

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Scalars; not the epoch, which Lightning adds to each and which would be a metric of every run."""
        known = {"epoch"} | (self.there if step == self.resumed else set())
        super().log_metrics({name: value for name, value in metrics.items() if name not in known}, step)

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Nothing: Lightning's own record would fix the HPARAMS columns to those of the first run."""

    @rank_zero_only
    def save(self) -> None:
        """No hparams.yaml: config.yaml says it all."""


def read_tags(run: Path, step: int) -> set[str]:
    """What the event files of a run hold of a step."""
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader  # late: only to resume

    events = (event for file in run.glob("events.*") for event in LegacyEventFileLoader(str(file)).Load())
    return {value.tag for event in events if event.step == step for value in event.summary.value}


def flatten(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted keys of what people compare: models, data, recipe; no paths, no callbacks, no loggers."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if not prefix and key in ("paths", "callbacks", "logger", "resume", "objective"):
            continue
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        elif key == "_target_":
            flat[prefix.rstrip(".")] = str(value).rsplit(".", 1)[-1]
        elif not key.startswith("_") and value is not None:
            flat[prefix + key] = value if isinstance(value, bool | int | float | str) else str(value)
    return flat


def write_images(folder: Path, images: list[Path]) -> None:
    """Put PNG files into event files in a folder, instead of those that are there."""
    from matplotlib.image import imread
    from torch.utils.tensorboard import SummaryWriter

    for old in folder.glob("events.*"):
        old.unlink()
    with SummaryWriter(str(folder)) as writer:
        for image in images:
            writer.add_image(image.stem, imread(image)[..., :3], dataformats="HWC")
