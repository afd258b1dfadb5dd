"""What people know from other tools and seqlab does not take, and what to type instead."""

# What people type out of habit -> the key.
ALIASES = {
    "mask_prompt": "data.supervised=answers or data.supervised=all",
    "train_on_inputs": "data.supervised=all",
    "lr": "optimizer.lr",
    "learning_rate": "optimizer.lr",
    "epochs": "trainer.max_epochs",
    "num_epochs": "trainer.max_epochs",
    "steps": "trainer.max_steps",
    "max_time": "+trainer.max_time",
    "temp": "temperature",
    "length": "max_new_tokens",
    "max_length": "max_new_tokens",
    "max_tokens": "max_new_tokens",
    "data.path": "data=text data.path=<text>, data=series data.path=<CSV> or data=instruction data.path=<JSON>",
    "run": "resume=<run>, to continue it",
    "batch": "data.batch_size",
    "batch_size": "data.batch_size",
    "block_size": "data.context_length",
    "seq_len": "data.context_length",
    "gpus": "trainer.devices",
    "early_stopping": "callbacks.early_stopping.patience",
    "patience": "callbacks.early_stopping.patience",
    "early_stopping.monitor": "objective.metric",
    "early_stopping.mode": "objective.mode",
}
# Keywords of Lightning's Trainer that a run does not take -> what to do instead.
TRAINER_REMEDIES = {
    "barebones": "switch parts off with logger=none callbacks.progress=null callbacks.metrics=null",
    "callbacks": "set nodes of the group callbacks, such as +callbacks.mine._target_=…",
    "default_root_dir": "use paths.runs=<folder>",
    "enable_autolog_hparams": "the logger writes what was composed; use logger=none",
    "enable_checkpointing": "use callbacks.checkpoint=null",
    "enable_model_summary": "plan=true prints the sizes",
    "enable_progress_bar": "use callbacks.progress=null",
    "fast_dev_run": "use debug=fast",
    "gradient_clip_algorithm": "gradients are clipped by their norm, trainer.gradient_clip_val",
    "inference_mode": "validation and test never build a graph",
    "limit_predict_batches": "seqlab generate has max_new_tokens",
    "logger": "use logger=none, or nodes of the group logger",
    "min_epochs": "leave callbacks.early_stopping.patience out, or make it larger",
    "min_steps": "leave callbacks.early_stopping.patience out, or make it larger",
    "model_registry": "a run folder holds its weights",
    "num_sanity_val_steps": "debug=fast tries validation after two steps",
    "overfit_batches": "use debug=overfit",
    "plugins": "choose trainer.precision and trainer.strategy",
    "reload_dataloaders_every_n_epochs": "data are read once",
    "run": "use paths.runs=<folder>",
    "use_distributed_sampler": "seqlab orders the samples itself, so that a run can be resumed and its seed decides",
}
# Classes of torch and Lightning that seqlab cannot serve -> why, and what to do instead.
ELSE_CHECKPOINT = "callbacks.checkpoint saves what resuming and evaluating need; set its every_n_steps or every_minutes"
ELSE_AVERAGE = "best.ckpt would hold other weights than those that were validated"
ELSE_SUBCLASS = "it does nothing by itself: name a subclass"
UNSUPPORTED_TARGETS = {
    "LBFGS": "it reads a batch many times a step, so that tokens, losses and dropout would be counted as often",
    "SparseAdam": "it needs sparse gradients, and those of seqlab's models are dense: use torch.optim.Adam",
    "BatchSizeFinder": "what it finds would not be in the config: sweep over data.batch_size",
    "LearningRateFinder": "what it finds would not be in the config: sweep over optimizer.lr, as sweep=search does",
    "GradientAccumulationScheduler": "use trainer.accumulate_grad_batches",
    "StochasticWeightAveraging": ELSE_AVERAGE,
    "WeightAveraging": ELSE_AVERAGE,
    "EMAWeightAveraging": ELSE_AVERAGE,
    "ModelCheckpoint": ELSE_CHECKPOINT,
    "OnExceptionCheckpoint": ELSE_CHECKPOINT,
    "TQDMProgressBar": "callbacks.progress is the bar",
    "RichProgressBar": "callbacks.progress is the bar",
    "ModelPruning": "checkpoints would hold masks that evaluating does not know",
    **dict.fromkeys(("Callback", "Checkpoint", "BasePredictionWriter", "ProgressBar", "LRScheduler"), ELSE_SUBCLASS),
    "BaseFinetuning": "it adds parameter groups during training, which a resumed run lacks",
    "BackboneFinetuning": "it adds parameter groups during training, which a resumed run lacks",
}


def suggest_alias(key: str) -> str:
    """' Did you mean …?' for another tool's name of a key, whatever stands before it; or nothing."""
    *_, group, name = ["", *key.split(".")]
    known = ALIASES.get(f"{group}.{name}") or ALIASES.get(name)
    return f" Did you mean {known}?" if known and known.lstrip("+") != key else ""
