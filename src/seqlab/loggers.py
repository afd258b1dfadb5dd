"""Loggers. TensorBoard writes into the run folder itself; the others, of Lightning's, get a folder in it and the run's name."""

import csv
import html
import logging
import re
import uuid
import warnings
from argparse import Namespace
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger, MLFlowLogger, TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from torch.utils.tensorboard.summary import hparams

from seqlab.config.nodes import flatten
from seqlab.errors import UserError
from seqlab.files import dump_yaml
from seqlab.runs import run_info
from seqlab.runs.folder import is_in_sweep

# The tab CUSTOM SCALARS: curves that belong in one chart.
CUSTOM_SCALARS = {"losses": {"loss": ["Multiline", ["loss/train_step", "loss/train", "loss/val"]]}}
# What people compare or tune; the parts of a config that are no hyperparameters, and keys of the others that are none.
NOT_COMPARED = ("name", "paths", "callbacks", "logger", "resume", "objective", "threads", "task")
NOT_TUNED = re.compile(
    r"data\.(path|url|sha256|folders|num_workers|\w+_fraction|special_tokens)|\w+\.fused"
    r"|trainer(\.(?!max_|accumulate_grad_batches|gradient_clip_val|precision|limit_train_batches).*)?"
)
# TensorBoard sorts its groups by name and opens the first two: metric -> tag, so that those are the losses and the metrics.
TAGS = (
    (r"(train|val)/(loss)(_step)?", r"\2/\1\3"),
    (r"(train|val)/(\w+)", r"metrics/\1_\2"),
    (r"(lr|grad_norm)", r"optimizer/\1"),
    (r"(tokens|tokens_per_second)", r"speed/\1"),
    (r"best/(.*)", r"values_at_best/\1"),
)


def scalar_tag(metric: str) -> str:
    """The tag of a metric in TensorBoard: `val/loss` stands under `loss/val`, beside `loss/train`."""
    for pattern, tag in TAGS:
        if match := re.fullmatch(pattern, metric):
            return match.expand(tag)
    return metric


class TensorBoard(TensorBoardLogger):
    """Scalars, figures and text of one run.

    `purge_step` hides what an interrupted run logged after its checkpoint; what it logged at the checkpoint's own step is
    not logged again.
    """

    def __init__(self, run: Path, config: dict[str, Any], command: str = "", purge_step: int | None = None) -> None:
        super().__init__(save_dir=run.parent, name=run.name, version="", default_hp_metric=False, purge_step=purge_step)
        self.run, self.config, self.command = run, config, command
        self.choices = run_info.read_run_info(run)["choices"] if (run / run_info.FILE_NAME).is_file() else {}
        self.resumed_step = None if purge_step is None else purge_step - 1
        self.logged_tags = read_tags(run, self.resumed_step) if self.resumed_step else set()
        self.write_start()

    @rank_zero_only
    def write_start(self) -> None:
        """Write the start of the hyperparameters' session, the command and the config."""
        _, start, _ = hparams(flatten_hparams(self.config, self.choices), {})
        plugin_data = start.value[0].metadata.plugin_data
        content = HParamsPluginData.FromString(plugin_data.content)
        content.session_start_info.group_name = trial_name(self.run)
        plugin_data.content = content.SerializeToString()
        self.experiment.file_writer.add_summary(start)
        self.experiment.add_text("setup/command", f"    {self.command}", 0)
        self.experiment.add_custom_scalars(CUSTOM_SCALARS)
        text = dump_yaml(self.config)
        self.experiment.add_text("setup/config", "".join(f"    {line}\n" for line in text.splitlines()), 0)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write the session's end; TensorBoard then takes every scalar as a metric of it."""
        _, _, end = hparams(flatten_hparams(self.config, self.choices), {})
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
        tags = {scalar_tag(name): value for name, value in metrics.items() if name != "epoch"}
        skipped = self.logged_tags if step == self.resumed_step else set()
        super().log_metrics({tag: value for tag, value in tags.items() if tag not in skipped}, step)

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


def trial_name(run: Path) -> str:
    """The name of a run in the HPARAMS tab, of which TensorBoard shows the beginning: what tells it apart comes first."""
    name = re.sub(r"^(\d\d-\d\d-\d\d)-(.*)", r"\2 \1", run.name)  # the time stands before the name of a single run
    folders = [folder.name for folder in (run.parent.parent, run.parent)]
    return " ".join([name, *(folder for folder in folders if re.match(r"\d\d", folder))])


def flatten_hparams(config: dict[str, Any], choices: dict[str, str] | None = None) -> dict[str, Any]:
    """What people compare, by dotted keys: model, data, recipe. The option of a group, or else the class of a node, stands
    under the node's own key.
    """
    compared = {key: value for key, value in config.items() if key not in NOT_COMPARED}
    if compared.get("init_from"):
        compared["init_from"] = Path(compared["init_from"]).name
    hparams: dict[str, Any] = {}
    for key, value in flatten(compared).items():
        node, _, leaf = key.rpartition(".")
        name = node if leaf == "_target_" else key
        if NOT_TUNED.fullmatch(name) or value is None or value == {}:
            continue
        if leaf == "_target_":
            hparams[name] = (choices or {}).get(name) or str(value).rsplit(".", 1)[-1]
        elif not leaf.startswith("_"):
            hparams[name] = value if isinstance(value, bool | int | float | str) else str(value)
    return hparams


class CSV(CSVLogger):
    """`csv/metrics.csv` and `csv/hparams.yaml` in the run folder."""

    def __init__(self, run: Path, config: dict[str, Any], purge_step: int | None = None) -> None:
        super().__init__(save_dir=run, name="csv", version="")
        self.resumed_step = None if purge_step is None else purge_step - 1
        rows = [] if purge_step is None else read_rows(run / "csv" / "metrics.csv", below=purge_step)
        self.logged = {name for row in rows if int(row["step"]) == self.resumed_step for name in row if row[name]}
        with warnings.catch_warnings(action="ignore"):  # that Lightning begins a new file
            self.experiment.metrics = rows
        self.log_hyperparams(flatten_hparams(config))
        self.save()

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log scalars, each once a step."""
        skipped = self.logged if step == self.resumed_step else set()
        if new := {name: value for name, value in metrics.items() if name not in skipped}:
            super().log_metrics(new, step)


def read_rows(file: Path, below: int) -> list[dict[str, Any]]:
    """The rows of a CSV file below a step; not one that a kill has cut short."""
    if not file.exists():
        return []
    with open(file, newline="", encoding="utf-8") as stream:
        return [row for row in csv.DictReader(stream) if (row["step"] or "").isdigit() and int(row["step"]) < below]


@contextmanager
def service_errors(name: str, remedy: str = "") -> Iterator[None]:
    """What a service's package raises, of whatever kind, as a UserError; a package that is missing, with its command."""
    try:
        yield
    except ImportError as error:
        raise UserError(f"logger={name} needs a package: pip install 'seqlab[{name}]'.") from error
    except UserError:
        raise
    except Exception as error:  # of a tracker's own kinds, of which each has others
        raise UserError(f"{name}: {str(error).splitlines()[0] if str(error) else error!r}{remedy}") from error


class Wandb(WandbLogger):
    """Weights & Biases: the run's name, hyperparameters, scalars, samples and figures. A resumed run continues its own."""

    def __init__(
        self,
        run: Path,
        config: dict[str, Any],
        project: str = "seqlab",
        entity: str | None = None,
        offline: bool = False,
    ) -> None:
        with service_errors("wandb", " (logger.wandb.offline=true needs no account)"):
            import wandb

            if not offline and not wandb.login(prompt=False):
                raise UserError("W&B knows no account: type wandb login, or set logger.wandb.offline=true.")
            if wandb.run is not None:
                raise UserError("A run of W&B is open in this process, and would be continued: wandb.finish() ends it.")
            how: dict[str, Any] = {"entity": entity, "resume": "allow", "id": saved_id(run / "wandb")}
            how["settings"] = wandb.Settings(console="off", silent=True)
            super().__init__(run_name(run), run, project=project, offline=offline, **how)
            self.log_hyperparams(flatten_hparams(config))  # before training, so that what is wrong is known at once

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """End the run of one that failed; after the others more is logged."""
        super().finalize(status)
        if status == "failed":
            self.experiment.finish(exit_code=1)

    @rank_zero_only
    def write_text(self, tag: str, text: str, step: int) -> None:
        """Log a text."""
        import wandb

        self.experiment.log({tag: wandb.Html(f"<pre>{html.escape(text)}</pre>"), "trainer/global_step": step})

    @rank_zero_only
    def write_figure(self, tag: str, figure: Any, step: int) -> None:
        """Log a figure."""
        import wandb

        self.experiment.log({tag: wandb.Image(figure), "trainer/global_step": step})

    @rank_zero_only
    def log_best(self, best: dict[str, float], step: int) -> None:
        """Put the metrics at the best objective into the summary, and end: this is the last that is logged."""
        self.experiment.summary.update({f"best/{name}": value for name, value in best.items()})
        self.experiment.finish()


class MLflow(MLFlowLogger):
    """MLflow: the run's name, hyperparameters, scalars, samples and figures, in the run folder or on a server."""

    def __init__(
        self, run: Path, config: dict[str, Any], experiment_name: str = "seqlab", tracking_uri: str | None = None
    ) -> None:
        folder = run / "mlflow"
        folder.mkdir(exist_ok=True)
        known = folder / "run_id"
        uri, artifacts = tracking_uri, None
        if not tracking_uri:
            uri, artifacts = f"sqlite:///{folder / 'mlflow.db'}", (folder / "artifacts").as_uri()
        identity = known.read_text(encoding="utf-8") if known.exists() else None
        with service_errors("mlflow"):
            import mlflow  # noqa: F401  # sets its own level of logging

            logging.getLogger("mlflow").setLevel(logging.WARNING)
            super().__init__(experiment_name, run_name(run), uri, artifact_location=artifacts, run_id=identity)
            _ = self.experiment  # before training, so that what is wrong is known at once
            if not identity:  # MLflow allows no other values later
                self.log_hyperparams(flatten_hparams(config))
                known.write_text(str(self.run_id), encoding="utf-8")

    @rank_zero_only
    def write_text(self, tag: str, text: str, step: int) -> None:
        """Log a text as an artifact."""
        self.experiment.log_text(self.run_id, text, f"{tag}/{step:08d}.md")

    @rank_zero_only
    def write_figure(self, tag: str, figure: Any, step: int) -> None:
        """Log a figure as an artifact."""
        self.experiment.log_figure(self.run_id, figure, f"{tag}/{step:08d}.png")

    @rank_zero_only
    def log_best(self, best: dict[str, float], step: int) -> None:
        """Log the metrics at the best objective."""
        self.log_metrics({f"best/{name}": value for name, value in best.items()}, step)


def run_name(run: Path) -> str:
    """The name of a run where its folder is not seen: with the date, and in a sweep with the sweep."""
    return run.relative_to(run.parents[2] if is_in_sweep(run) else run.parents[1]).as_posix()


def saved_id(folder: Path) -> str:
    """The id of a run at a service, made once and kept in its folder."""
    file = folder / "id"
    if not file.exists():
        folder.mkdir(exist_ok=True)
        file.write_text(uuid.uuid4().hex[:12], encoding="utf-8")
    return file.read_text(encoding="utf-8")


def write_images(folder: Path, images: list[Path]) -> None:
    """Replace the event files in a folder by one that holds these PNG files."""
    from matplotlib.image import imread
    from torch.utils.tensorboard import SummaryWriter

    for old in folder.glob("events.*"):
        old.unlink()
    with SummaryWriter(str(folder)) as writer:
        for image in images:
            writer.add_image(f"sweep/{image.stem}", imread(image)[..., :3], dataformats="HWC")
