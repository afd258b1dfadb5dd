"""What all tasks share: exact means, separate randomness, gradients weighed by what is supervised."""

import math
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, cast

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_, get_total_norm
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler
from torchmetrics import Metric

from seqlab.errors import UserError
from seqlab.seeding import derive_seed, seed_generators

Batch = tuple[Tensor, ...]
Sums = dict[str, tuple[Tensor, Tensor]]  # name -> (total, count)


EXACT_DTYPE = torch.float32 if torch.backends.mps.is_available() else torch.float64  # Apple's GPUs have no float64


class WeightedMean(Metric):
    """A total over a count, of all ranks. (torchmetrics' MeanMetric 1.9 drops its weights where it does not look for NaN.)"""

    total: Tensor
    count: Tensor

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.add_state("total", torch.zeros((), dtype=EXACT_DTYPE), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=EXACT_DTYPE), dist_reduce_fx="sum")

    def update(self, total: Tensor, count: Tensor) -> None:
        """Add a batch."""
        self.total += total.detach()
        self.count += count

    def compute(self) -> Tensor:
        """The mean so far."""
        return (self.total / self.count).float()


class Task(LightningModule):
    """A loss over a model. A subclass implements `measure` and names what it metric_names.

    Every mean is a total over a count of supervised tokens (values, in forecasting): the same number whatever the batch
    size, the padding and the accumulation.
    """

    metric_names: ClassVar[tuple[str, ...]] = ("loss",)
    derived_names: ClassVar[tuple[str, ...]] = ()  # what `derived` adds
    required_properties: ClassVar[tuple[str, ...]] = ()  # data_properties that the data must have
    safe_precisions: ClassVar[tuple[str, ...]] = ("32-true",)  # what device=auto may take

    def __init__(
        self,
        model: nn.Module,
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
        schedule: Callable[..., LRScheduler],
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.model, self.make_optimizer, self.make_schedule, self.seed = model, optimizer, schedule, seed
        self.eval_means = nn.ModuleDict(
            {split: nn.ModuleDict({name: WeightedMean() for name in self.metric_names}) for split in ("val", "test")}
        )
        self.train_loss_mean = WeightedMean(
            sync_on_compute=False
        )  # of the training loss; every rank is given the sums of all
        self.train_loss_mean.persistent(True)  # a resumed epoch has one mean
        self.micro_batches = 0
        self.step_loss: float = math.nan  # of the last optimizer step that was logged, as the next two
        self.step_lr: float = math.nan
        self.grad_norm: float | Tensor = math.nan
        self.accumulated: list[Tensor] = []  # total and count of each batch since the last optimizer step
        self.tokens_seen: int | Tensor = 0  # supervised so far; a tensor between two looks, to not wait for the device

    def eval_mean(self, split: str, measure: str) -> WeightedMean:
        """The running mean of a measure on a split."""
        return cast(WeightedMean, cast(nn.ModuleDict, self.eval_means[split])[measure])

    def compute_sums(self, batch: Batch) -> Sums:
        """Total and count of each measure on a batch; `loss` is what is minimised."""
        raise NotImplementedError

    def derive_metrics(self, means: dict[str, Tensor]) -> dict[str, Tensor]:
        """The means of a split, and what follows from them."""
        return means

    # ------------------------------------------------------------------ training

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The summed loss; divided already where this batch is the whole of an optimizer step."""
        seed_generators(derive_seed(self.seed, "dropout", self.micro_batches, self.global_rank), self.device)
        total, count = self.compute_sums(batch)["loss"]
        if not math.isfinite(total.item()):
            rate = self.trainer.optimizers[0].param_groups[0]["lr"]
            raise UserError(
                f"The loss became {total.item()} at step {self.global_step + 1} with learning rate {rate:g}: "
                "try a lower optimizer.lr, a schedule.warmup_steps, or trainer.gradient_clip_val=1.0."
            )
        self.accumulated.append(torch.stack([total.detach().to(EXACT_DTYPE), count.to(EXACT_DTYPE)]))
        self.micro_batches += 1
        self.trainer.datamodule.advance()  # type: ignore[attr-defined]  # set by fit
        return total if self.normalize_after_accumulation else total / count.clamp(min=1)

    @property
    def normalize_after_accumulation(self) -> bool:
        """Whether a step sees more than one batch, whose tokens are known only when all are through."""
        return self.trainer.accumulate_grad_batches > 1 or self.trainer.world_size > 1

    def on_train_start(self) -> None:
        """Take the learning rate of this step from the schedule as it is now, also where a resumed run has another."""
        for schedule in self.trainer.lr_scheduler_configs:
            scheduler = schedule.scheduler
            if isinstance(scheduler, LambdaLR):
                for group, base, factor in zip(
                    scheduler.optimizer.param_groups, scheduler.base_lrs, scheduler.lr_lambdas, strict=True
                ):
                    group["lr"] = base * factor(scheduler.last_epoch)

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Divide the gradients by the tokens of the window and of all ranks, before clipping."""
        sums = torch.stack(self.accumulated).sum(0)  # (2,)
        self.accumulated.clear()
        if self.normalize_after_accumulation:
            sums = cast(Tensor, self.trainer.strategy.reduce(sums, reduce_op="sum"))
            factor = self.trainer.accumulate_grad_batches * self.trainer.world_size / float(sums[1].clamp(min=1))
            torch._foreach_mul_([p.grad for p in self.parameters() if p.grad is not None], factor)
        total, count = sums
        self.train_loss_mean.update(total, count)
        self.tokens_seen = self.tokens_seen + count
        if self.is_logged(self.global_step + 1):
            self.step_loss, self.step_lr = float(total / count.clamp(min=1)), optimizer.param_groups[0]["lr"]

    def configure_gradient_clipping(
        self, optimizer: Optimizer, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Clip by the total norm if asked to; measure it where it will be logged."""
        if gradient_clip_val:
            self.grad_norm = clip_grad_norm_(self.model.parameters(), gradient_clip_val)
        elif self.is_logged(self.global_step + 1):
            self.grad_norm = get_total_norm([p.grad for p in self.model.parameters() if p.grad is not None])

    def is_logged(self, step: int) -> bool:
        """Whether the scalars of this optimizer step (from 1) are logged: the first, and every n-th."""
        every: int = self.trainer.log_every_n_steps  # type: ignore[attr-defined]  # set by fit
        return step == 1 or step % every == 0

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """At `max_steps` stop as early stopping does, so that the last weights are validated also in mid-epoch.

        The mean over the epoch goes to run.json and the objective; TensorBoard has the curve per step.
        """
        if self.global_step == self.trainer.max_steps:
            self.trainer.should_stop = True
        if self.trainer.should_stop or self.trainer.is_last_batch or batch_idx + 1 == self.trainer.num_training_batches:
            self.log("train/loss", self.train_loss_mean.compute(), logger=False)
            self.train_loss_mean.reset()

    def on_train_epoch_end(self) -> None:
        """Close the mean where early stopping ended the epoch after a validation, and the order where it was cut short."""
        if self.train_loss_mean.count:
            self.log("train/loss", self.train_loss_mean.compute(), logger=False)
            self.train_loss_mean.reset()
        self.trainer.datamodule.end_epoch()  # type: ignore[attr-defined]  # set by fit

    def configure_optimizers(self) -> Any:
        """Optimizer over what is trained, schedule per step."""
        optimizer = self.make_optimizer([p for p in self.model.parameters() if p.requires_grad])
        schedule = self.make_schedule(optimizer, total_steps=int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    # ------------------------------------------------------------------ evaluation

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add a batch to the means of the validation split."""
        self.update_means(batch, "val")

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Add a batch to the means of the tested split."""
        self.update_means(batch, "test")

    def on_validation_epoch_end(self) -> None:
        """Report the means of the validation split."""
        self.log_split("val", "val")

    def on_test_epoch_end(self) -> None:
        """Report the means of the tested split, and what its data say of forecasts that need no network."""
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]  # set by fit
        self.log_split("test", data.test_split)
        if hasattr(data, "baselines"):
            self.log_now(
                {f"{data.test_split}/{name}": value for name, value in data.baselines(data.test_split).items()}
            )

    def update_means(self, batch: Batch, split: str) -> None:
        """Add a batch to the running means of a split."""
        for name, (total, count) in self.compute_sums(batch).items():
            self.eval_mean(split, name).update(total, count)

    def log_split(self, split: str, name: str) -> None:
        """Log the means of a split under a name, and begin anew."""
        means = {measure: self.eval_mean(split, measure).compute() for measure in self.metric_names}
        self.log_now({f"{name}/{measure}": value.item() for measure, value in self.derive_metrics(means).items()})
        for measure in self.metric_names:
            self.eval_mean(split, measure).reset()

    def log_now(self, metrics: dict[str, float]) -> None:
        """Give metrics to callbacks and to loggers, at this step (Lightning counts others for `log`, and anew when resumed)."""
        self.log_dict(metrics, logger=False)
        for logger in self.trainer.loggers:
            logger.log_metrics(metrics, self.global_step)

    # ------------------------------------------------------------------ checkpoints

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the counts; of a frozen base, only what is trained."""
        checkpoint["counts"] = {"micro_batches": self.micro_batches, "tokens": int(self.tokens_seen)}
        parameters = self.named_parameters(remove_duplicate=False)  # tie_embeddings weights have two names
        frozen = {name for name, parameter in parameters if not parameter.requires_grad}
        checkpoint["state_dict"] = {k: v for k, v in checkpoint["state_dict"].items() if k not in frozen}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on from the counts, with those hyperparameters of the optimizer that the config has now."""
        self.micro_batches, self.tokens_seen = checkpoint["counts"]["micro_batches"], checkpoint["counts"]["tokens"]
        now = getattr(self.make_optimizer, "keywords", {})
        for state, schedule in zip(checkpoint["optimizer_states"], checkpoint["lr_schedulers"], strict=True):
            for group in state["param_groups"]:
                group |= {key: value for key, value in now.items() if key in group and key != "lr"}
                group["initial_lr"] = now.get("lr", group["initial_lr"])
            schedule["base_lrs"] = [group["initial_lr"] for group in state["param_groups"]]
        self.strict_loading = all(parameter.requires_grad for parameter in self.parameters())
