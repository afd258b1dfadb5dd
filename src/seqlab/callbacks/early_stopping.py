"""Early stopping by the run's objective."""

from typing import Any

from lightning.pytorch import Callback, Trainer

from seqlab.runs.objective import Objective
from seqlab.types import PositiveInt


class EarlyStopping(Callback):
    """Stops training once `patience` measurements in a row have not improved the objective; null never stops.

    The objective is measured by a validation, or at the end of an epoch if it is `train/loss`. All ranks measure the same.
    """

    def __init__(self, objective: Objective, patience: PositiveInt | None = None) -> None:
        # one of its own, since that of a resumed run may know weights that were saved after the checkpoint
        self.objective, self.patience = Objective(objective.metric, objective.mode), patience
        self.waited = 0  # measurements since the best one

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Look at an objective of the validation split."""
        if self.objective.metric.startswith("val/"):
            self.stop_if_waited(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Look at the loss of the epoch."""
        if not self.objective.metric.startswith("val/"):
            self.stop_if_waited(trainer)

    def stop_if_waited(self, trainer: Trainer) -> None:
        """Count a measurement that did not improve, and stop after enough of them."""
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self.waited = 0 if self.objective.update(metrics, trainer.global_step) else self.waited + 1
        if self.patience and self.waited >= self.patience and trainer.state.fn == "fit":
            trainer.should_stop = True
            best = f"{self.objective.metric} was best at step {self.objective.best_step}"
            trainer.print(f"stopped     early, after step {trainer.global_step}: {best}")

    def state_dict(self) -> dict[str, Any]:
        """The best value, and the measurements since."""
        return {"waited": self.waited} | self.objective.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue to count; `patience` is the config's."""
        self.waited = state_dict["waited"]
        self.objective.load_state_dict(state_dict)
