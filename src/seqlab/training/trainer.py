"""Lightning's Trainer with the keywords that a run may set."""

from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Gt, Le
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Trainer
from lightning.pytorch.profilers import AdvancedProfiler, Profiler, PyTorchProfiler, SimpleProfiler

from seqlab.errors import UserError
from seqlab.types import NonNegativeFloat, NonNegativeInt, PositiveInt

PROFILERS = {"simple": SimpleProfiler, "advanced": AdvancedProfiler, "pytorch": PyTorchProfiler}
Share = Annotated[float, Gt(0), Le(1)]  # of an epoch
Precision = Literal[
    "auto", "32-true", "bf16-mixed", "16-mixed", "bf16-true", "16-true", "64-true", 16, 32, 64, "16", "32", "64", "bf16"
]


def create_trainer(
    run: Path,
    callbacks: list[Any],
    logger: list[Any],
    plugins: list[Any],
    *,
    accelerator: str = "cpu",
    devices: int | str | list[int] = 1,
    num_nodes: PositiveInt = 1,
    strategy: Literal["auto", "ddp", "ddp_find_unused_parameters_true", "ddp_find_unused_parameters_false"] = "auto",
    precision: Precision = "32-true",
    max_epochs: PositiveInt | None = 1,
    max_steps: Literal[-1] | PositiveInt = -1,
    max_time: str | dict[str, int] | None = None,
    accumulate_grad_batches: PositiveInt = 1,
    gradient_clip_val: NonNegativeFloat | None = None,
    val_check_interval: PositiveInt | Share | str | dict[str, int] = 1.0,
    check_val_every_n_epoch: PositiveInt | None = 1,
    limit_train_batches: PositiveInt | Share = 1.0,
    limit_val_batches: NonNegativeInt | NonNegativeFloat = 1.0,
    limit_test_batches: NonNegativeInt | NonNegativeFloat = 1.0,
    log_every_n_steps: PositiveInt = 10,
    deterministic: bool | Literal["warn"] = False,
    benchmark: bool | None = None,
    detect_anomaly: bool = False,
    sync_batchnorm: bool = False,
    profiler: Any = None,  # a Profiler, or the name of one of Lightning's
) -> Trainer:
    """A Trainer whose callbacks, loggers, checkpoints and order of samples are seqlab's. Raises UserError."""
    settings = {name: value for name, value in locals().items() if name not in ("run", "logger")}
    if profiler is not None and not isinstance(profiler, Profiler):
        if str(profiler) not in PROFILERS:
            raise UserError(f"profiler={profiler} is unknown: use {', '.join(PROFILERS)} or null.")
        settings["profiler"] = PROFILERS[profiler](dirpath=run, filename="profile")  # by name it would report nowhere
    try:
        return Trainer(
            **settings,
            logger=logger or False,
            default_root_dir=run,
            enable_checkpointing=any(hasattr(callback, "save_last") for callback in callbacks),
            enable_progress_bar=any(hasattr(callback, "enable") for callback in callbacks),
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
        )
    except MisconfigurationException as error:
        raise UserError(f"trainer: {error}") from error
