"""The same batches again and again, to see whether a model can learn them at all."""

from typing import Any

from lightning.pytorch import Callback


class RepeatBatches(Callback):
    """Starts the order again at each epoch's end; with `trainer.limit_train_batches=1` one batch is seen again and again."""

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Count nothing as consumed."""
        trainer.datamodule.reset()
