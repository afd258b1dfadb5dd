"""The TensorBoard logger: events in the run folder itself, and hyperparameters that rank runs of different models."""

from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from torch.utils.tensorboard.summary import hparams

from seqlab.config.nodes import flatten

# The tab CUSTOM SCALARS: curves that belong in one chart.
CUSTOM_SCALARS = {"losses": {"loss": ["Multiline", ["train/loss_step", "train/loss", "val/loss"]]}}
NOT_COMPARED = ("paths", "callbacks", "logger", "resume", "objective")  # parts of a config that are no hyperparameters


class TensorBoard(TensorBoardLogger):
    """Scalars, figures and text of one run.

    `purge_step` hides what an interrupted run logged after its checkpoint; what it logged at the checkpoint's own step is
    not logged again.
    """

    def __init__(self, run: Path, config: dict[str, Any], command: str = "", purge_step: int | None = None) -> None:
        super().__init__(save_dir=run.parent, name=run.name, version="", default_hp_metric=False, purge_step=purge_step)
        self.config, self.command = config, command
        self.resumed_step = None if purge_step is None else purge_step - 1
        self.logged_tags = read_tags(run, self.resumed_step) if self.resumed_step else set()
        self.write_start()

    @rank_zero_only
    def write_start(self) -> None:
        """Write the start of the hyperparameters' session, the command and the config."""
        _, start, _ = hparams(flatten_hparams(self.config), {})
        self.experiment.file_writer.add_summary(start)
        self.experiment.add_text("command", f"    {self.command}", 0)
        self.experiment.add_custom_scalars(CUSTOM_SCALARS)
        text = yaml.safe_dump(self.config, sort_keys=False, allow_unicode=True)
        self.experiment.add_text("config", "".join(f"    {line}\n" for line in text.splitlines()), 0)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write the session's end; TensorBoard then takes every scalar as a metric of it."""
        _, _, end = hparams(flatten_hparams(self.config), {})
        self.experiment.file_writer.add_summary(end)
        self.experiment.flush()

    @rank_zero_only
    def log_best(self, best: dict[str, float], step: int) -> None:
        """Log the metrics at the best objective, as columns beside the last ones."""
        self.log_metrics({f"best/{name}": value for name, value in best.items()}, step)
        self.experiment.flush()

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log scalars, without the epoch, which Lightning adds to each and which would be a metric of every run."""
        skipped = {"epoch"} | (self.logged_tags if step == self.resumed_step else set())
        super().log_metrics({name: value for name, value in metrics.items() if name not in skipped}, step)

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Do nothing: Lightning's own record would fix the HPARAMS columns to those of the first run."""

    @rank_zero_only
    def save(self) -> None:
        """Do nothing: config.yaml takes the place of hparams.yaml."""


def read_tags(run: Path, step: int) -> set[str]:
    """The tags that a run's event files have at a step."""
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader  # only needed to resume

    events = (event for file in run.glob("events.*") for event in LegacyEventFileLoader(str(file)).Load())
    return {value.tag for event in events if event.step == step for value in event.summary.value}


def flatten_hparams(config: dict[str, Any]) -> dict[str, Any]:
    """What people compare, by dotted keys: model, data, recipe. A node's target stands under the node's own key."""
    compared = {key: value for key, value in config.items() if key not in NOT_COMPARED}
    hparams: dict[str, Any] = {}
    for key, value in flatten(compared).items():
        node, _, leaf = key.rpartition(".")
        if leaf == "_target_":
            hparams[node] = str(value).rsplit(".", 1)[-1]
        elif not leaf.startswith("_") and value is not None and value != {}:
            hparams[key] = value if isinstance(value, bool | int | float | str) else str(value)
    return hparams


def write_images(folder: Path, images: list[Path]) -> None:
    """Replace the event files in a folder by one that holds these PNG files."""
    from matplotlib.image import imread
    from torch.utils.tensorboard import SummaryWriter

    for old in folder.glob("events.*"):
        old.unlink()
    with SummaryWriter(str(folder)) as writer:
        for image in images:
            writer.add_image(image.stem, imread(image)[..., :3], dataformats="HWC")
