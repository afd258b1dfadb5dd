"""What all tasks share: exact means, separate random streams, gradients weighted by supervised tokens."""

import inspect
import math
from collections.abc import Callable
from typing import Any, ClassVar, cast

from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_, get_total_norm
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, ReduceLROnPlateau

from seqlab.adapters.base import Adapter
from seqlab.batch import Batch
from seqlab.errors import check_kind
from seqlab.seeding import derive_seed, seed_generators
from seqlab.tasks.learning_rates import set_lr_ratios
from seqlab.tasks.means import TokenCount, TrainingCounts, WeightedMean

NEVER = 10**12  # steps
Sums = dict[str, tuple[Tensor, Tensor]]  # metric -> (total, count)


class Task(LightningModule):
    """A loss over a model. A subclass implements `compute_sums` and names its metrics.

    Every mean is a total over a count of supervised tokens (values, in forecasting): the same number whatever the batch
    size, the padding, the accumulation and the number of ranks.
    """

    metric_names: ClassVar[tuple[str, ...]] = ("loss",)
    derived_names: ClassVar[tuple[str, ...]] = ()  # what `derive_metrics` adds
    required_properties: ClassVar[tuple[str, ...]] = ()  # of the data
    safe_precisions: ClassVar[tuple[str, ...]] = ("32-true",)  # that device=auto may choose, fp32 first
    supports_adapter: ClassVar[bool] = False
    adapter: Adapter | None = None  # that the model carries

    def __init__(
        self,
        model: nn.Module,
        optimizer: Callable[..., Optimizer],
        schedule: Callable[..., LRScheduler],
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.model, self.make_optimizer, self.make_schedule, self.seed = model, optimizer, schedule, seed
        self.eval_means = nn.ModuleDict(
            {split: nn.ModuleDict({name: WeightedMean() for name in self.metric_names}) for split in ("val", "test")}
        )
        self.counts = TrainingCounts()
        self.token_count: TokenCount | None = None  # of an optimizer step that sees more than one batch
        self.micro_batches = 0
        self.step_lr = math.nan  # learning rate of the last step that was logged
        self.grad_norm: float | Tensor = math.nan  # of the last step that was logged or clipped

    def compute_sums(self, batch: Batch) -> Sums:
        """Total and count of each metric on a batch; `loss` is what is minimised."""
        raise NotImplementedError  # each task has its own

    def derive_metrics(self, means: dict[str, Tensor]) -> dict[str, Tensor]:
        """The means of a split, and metrics that follow from them."""
        return means

    # ------------------------------------------------------------------ training

    def setup(self, stage: str) -> None:
        """Prepare to count tokens where an optimizer step sees several batches."""
        if stage == "fit" and self.step_has_several_batches:
            tokens = self.data.batch_size * getattr(self.data, "context_length", 1)
            self.token_count = TokenCount(next(self.model.parameters()).dtype, divisor=2 ** int(math.log2(tokens)))

    @property
    def step_has_several_batches(self) -> bool:
        """True if the tokens of an optimizer step are known only when several batches, or several ranks, are through."""
        return self.trainer.accumulate_grad_batches > 1 or self.trainer.world_size > 1

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss as a mean over tokens if this batch is a whole optimizer step, else as a sum that carries their number."""
        seed_generators(derive_seed(self.seed, "dropout", self.micro_batches, self.global_rank), self.device)
        total, count = self.compute_sums(batch)["loss"]
        self.counts.add_batch(total, count)
        self.micro_batches += 1
        self.data.advance()
        return total / count.clamp(min=1) if self.token_count is None else self.token_count(total, count)

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Close the step: check its loss; divide the gradients by the tokens of several batches; sum up what is logged."""
        step, lr = self.global_step + 1, optimizer.param_groups[0]["lr"]
        self.counts.end_step(step, lr)
        if self.is_logged(step) or self.device.type == "cpu":  # elsewhere a look waits for the device
            self.counts.check_finite()
        if self.token_count is not None:
            self.token_count.normalize(self.gradients(), self.scaler.get_scale() if self.scaler else 1.0)
        if self.is_logged(step):
            self.counts.reduce_step(self.trainer.strategy)
            self.counts.reduce(self.trainer.strategy)
            self.step_lr = lr

    @property
    def scaler(self) -> Any:
        """The gradient scaler of fp16, or None."""
        return getattr(self.trainer.precision_plugin, "scaler", None)

    def gradients(self) -> list[Tensor]:
        """The gradients of what is trained."""
        return [p.grad for p in self.model.parameters() if p.grad is not None]

    def configure_gradient_clipping(
        self, optimizer: Optimizer, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Clip by the total norm if asked to; measure the norm if it will be logged.

        A fused optimizer divides the gradients by the scale of fp16 itself, later: their norm is still that many times larger.
        """
        is_logged = self.is_logged(self.global_step + 1)
        if not gradient_clip_val and not is_logged:
            return
        is_scaled = self.scaler is not None and getattr(optimizer, "_step_supports_amp_scaling", False)
        scale = self.scaler.get_scale() if is_scaled else 1.0
        if gradient_clip_val:
            self.grad_norm = clip_grad_norm_(self.model.parameters(), gradient_clip_val * scale) / scale
        else:
            self.grad_norm = get_total_norm(self.gradients()) / scale

    def is_logged(self, step: int) -> bool:
        """True if the scalars of this optimizer step (from 1) are logged: the first, and every n-th."""
        every: int = self.trainer.log_every_n_steps  # type: ignore[attr-defined]  # set by fit
        return step == 1 or step % every == 0

    def on_train_start(self) -> None:
        """Take this step's learning rate from the schedule as it is now, in case a resumed run has a new one."""
        for config in self.trainer.lr_scheduler_configs:
            scheduler = config.scheduler
            if isinstance(scheduler, LambdaLR):
                groups = zip(scheduler.optimizer.param_groups, scheduler.base_lrs, scheduler.lr_lambdas, strict=True)
                for group, base_lr, factor in groups:
                    group["lr"] = base_lr * factor(scheduler.last_epoch)

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """At the last step stop as early stopping does, so that the last weights are validated whatever the interval."""
        is_last_batch = self.trainer.is_last_batch or batch_idx + 1 == self.trainer.num_training_batches
        is_last_epoch = self.trainer.current_epoch + 1 == self.trainer.max_epochs
        if self.global_step == self.trainer.max_steps or (is_last_batch and is_last_epoch):
            self.trainer.should_stop = True
        if self.trainer.should_stop and self.trainer.check_val_every_n_epoch:
            self.trainer.check_val_every_n_epoch = 1  # this epoch too
        if self.trainer.should_stop or is_last_batch:
            self.log_epoch_loss()

    def on_train_epoch_end(self) -> None:
        """Log the epoch's loss if early stopping cut the epoch short after a validation; let the next one reshuffle."""
        self.log_epoch_loss()
        self.data.advance_to_epoch_end()

    def log_epoch_loss(self) -> None:
        """Log the mean over the epoch as `train/loss`, once; the loss of a step is `train/loss_step`."""
        self.counts.reduce(self.trainer.strategy)
        if self.counts.epoch_tokens:
            self.log_now({"train/loss": self.counts.pop_epoch_mean()})

    def trained_parameters(self) -> list[tuple[str, nn.Parameter]]:
        """The parameters that the optimizer changes, with their names."""
        return [(name, parameter) for name, parameter in self.model.named_parameters() if parameter.requires_grad]

    def create_optimizer(self, named: list[tuple[str, nn.Parameter]]) -> Optimizer:
        """The optimizer over these parameters; it gets their names if it asks for `named_parameters`."""
        signature = inspect.signature(getattr(self.make_optimizer, "func", self.make_optimizer))
        if "named_parameters" in signature.parameters:
            optimizer = self.make_optimizer(named_parameters=named)
        else:
            optimizer = self.make_optimizer([parameter for _, parameter in named])
        ratios = self.adapter.list_lr_ratios(self.model) if self.adapter else {}
        if ratios:
            set_lr_ratios(optimizer, [(parameter, ratios[name]) for name, parameter in named if name in ratios])
        return optimizer

    def configure_optimizers(self) -> Any:
        """The optimizer over what is trained, and the schedule per step."""
        optimizer = self.create_optimizer(self.trained_parameters())
        schedule = self.make_schedule(optimizer, total_steps=int(self.trainer.estimated_stepping_batches))
        check_kind(optimizer, Optimizer, "optimizer: what it names")
        check_kind(schedule, (LRScheduler, ReduceLROnPlateau), "schedule: what it names")
        frequency = 1
        if getattr(self.make_schedule, "interval", "step") == "epoch":  # at its last step, and so before a checkpoint
            frequency = int(self.trainer.num_training_batches)
        if self.monitor:
            frequency = NEVER  # it steps when the metric is measured
        when = {"interval": "step", "frequency": frequency, "monitor": self.monitor}
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, **when}}

    @property
    def monitor(self) -> str | None:
        """The metric that the schedule follows."""
        return getattr(self.make_schedule, "monitor", None)

    # ------------------------------------------------------------------ evaluation

    def on_validation_start(self) -> None:
        """Do not validate weights that a loss which is not finite has spoilt; read the counts of all ranks."""
        self.counts.check_finite()
        self.counts.reduce(self.trainer.strategy)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add a batch to the means of the validation split."""
        self.update_means(batch, "val")

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Add a batch to the means of the tested split."""
        self.update_means(batch, "test")

    def on_validation_epoch_end(self) -> None:
        """Log the means of the validation split."""
        self.log_split("val", "val")

    def on_test_epoch_end(self) -> None:
        """Log the means of the tested split, and its baselines if the data have any."""
        self.log_split("test", self.data.test_split)
        if baselines := self.data.baselines(self.data.test_split):
            self.log_now({f"{self.data.test_split}/{name}": value for name, value in baselines.items()})

    def means_of(self, split: str) -> dict[str, WeightedMean]:
        """The running mean of each metric on a split."""
        return cast(dict[str, WeightedMean], dict(cast(nn.ModuleDict, self.eval_means[split]).items()))

    def update_means(self, batch: Batch, split: str) -> None:
        """Add a batch to the running means of a split."""
        means = self.means_of(split)
        for name, (total, count) in self.compute_sums(batch).items():
            means[name].update(total, count)

    def log_split(self, split: str, name: str) -> None:
        """Log the means of a split under a name, and reset them."""
        means = self.means_of(split)
        metrics = self.derive_metrics({metric: mean.compute() for metric, mean in means.items() if mean.update_called})
        self.log_now({f"{name}/{metric}": value.item() for metric, value in metrics.items()})
        for mean in means.values():
            mean.reset()

    def log_now(self, metrics: dict[str, float]) -> None:
        """Log at `global_step` ourselves: Lightning's logging counters restart on resume. Tell a schedule that monitors."""
        self.log_dict(metrics, logger=False)
        for logger in self.trainer.loggers:
            logger.log_metrics(metrics, self.global_step)
        if self.monitor in metrics and self.trainer.state.fn == "fit":
            follower: Any = self.trainer.lr_scheduler_configs[0].scheduler
            follower.step(metrics[self.monitor])

    @property
    def data(self) -> Any:
        """The DataModule of this run."""
        return self.trainer.datamodule  # type: ignore[attr-defined]  # set by fit and test

    # ------------------------------------------------------------------ checkpoints

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the counts; of a model with an adapter, keep only the adapter's tensors."""
        self.counts.check_finite()
        self.counts.reduce(self.trainer.strategy)
        checkpoint["counts"] = {"micro_batches": self.micro_batches} | self.counts.state_dict()
        if self.adapter is not None:
            kept = {f"model.{name}" for name in self.adapter.trainable_state_dict(self.model)}
            checkpoint["state_dict"] = {name: v for name, v in checkpoint["state_dict"].items() if name in kept}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Continue counting, with the hyperparameters of the optimizer that the config has now."""
        self.micro_batches = checkpoint["counts"]["micro_batches"]
        self.counts.load_state_dict(checkpoint["counts"])
        configured = getattr(self.make_optimizer, "keywords", {}).keys() - {"lr"}
        fresh_groups = self.create_optimizer(self.trained_parameters()).param_groups
        for state, schedule in zip(checkpoint["optimizer_states"], checkpoint["lr_schedulers"], strict=True):
            for group, fresh in zip(state["param_groups"], fresh_groups, strict=True):
                group |= {key: fresh[key] for key in configured & fresh.keys()}
                group["initial_lr"] = fresh["lr"]
            schedule["base_lrs"] = [group["initial_lr"] for group in state["param_groups"]]
        self.strict_loading = self.adapter is None
