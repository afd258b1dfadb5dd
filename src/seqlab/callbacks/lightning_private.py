"""The private parts of Lightning that seqlab touches, each with its reason. Checked with Lightning 2.6.6."""

from collections.abc import Callable
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.strategies.launchers import subprocess_script


def is_epoch_end(trainer: Trainer) -> bool:
    """True if this batch is the last one of its epoch.

    Lightning skips the validation of an epoch that is resumed from a checkpoint taken at its last batch, so the checkpoint
    has to wait, and no public attribute tells in `on_train_batch_end`.
    """
    return trainer.fit_loop.epoch_loop._num_ready_batches_reached()


def is_validated_after_batch(trainer: Trainer) -> bool:
    """True if a validation follows this batch: a checkpoint taken before it would skip it on resume as well."""
    loop: Any = trainer.fit_loop
    return loop.epoch_loop._should_check_val_fx(loop._data_fetcher)


def watch_child_ranks(watch: Callable[[list[Any]], None]) -> None:
    """Call `watch` with the processes of the other ranks as soon as Lightning has started them.

    Lightning's own observer kills rank 0 by SIGKILL when another rank dies, so that nothing is written to run.json.
    """
    launcher: Any = subprocess_script
    launcher._launch_process_observer = watch
