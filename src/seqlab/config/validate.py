"""What is refused before anything is read: missing groups, values that do not fit, choices that do not fit together."""

from typing import Any

from seqlab.config import groups
from seqlab.config.nodes import flatten
from seqlab.config.signatures import (
    check_arguments,
    check_value,
    parameters,
    required_parameters,
    type_hints,
)
from seqlab.config.targets import get_class, resolve_target, takes_injection
from seqlab.device import setup_process
from seqlab.errors import UserError, did_you_mean
from seqlab.seeding import derive_seed

Config = dict[str, Any]
# What build.py gives a group's target besides its config, if the target's signature names it.
INJECTED_ARGS = {
    "tokenizer": ("texts",),
    "data": ("tokenizer",),
    "adapter": (),
    "task": ("model", "optimizer", "schedule", "reference", "seed"),
    "optimizer": ("params",),
    "schedule": ("optimizer", "total_steps"),
    "callbacks": ("run", "config", "objective", "tokenizer", "adapter", "seed"),
    "logger": ("run", "config", "command", "purge_step"),
    "trainer": ("run", "callbacks", "logger", "plugins"),
}
RUN_KEYS = {"name", "seed", "init_from", "resume", "threads", "objective", "paths", "model", *INJECTED_ARGS}
# What people type out of habit -> the key.
ALIASES = {
    "lr": "optimizer.lr",
    "learning_rate": "optimizer.lr",
    "epochs": "trainer.max_epochs",
    "num_epochs": "trainer.max_epochs",
    "steps": "trainer.max_steps",
    "max_time": "+trainer.max_time",
    "batch": "data.batch_size",
    "batch_size": "data.batch_size",
    "block_size": "data.context_length",
    "seq_len": "data.context_length",
    "gpus": "trainer.devices",
    "patience": "callbacks.early_stopping.patience",
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
MULTI_NODE_GROUPS = ("callbacks", "logger")  # groups of any number of named nodes
OPTIONAL_GROUPS = ("tokenizer", "adapter")
COMPLETED_GROUPS = (
    "optimizer",
    "schedule",
)  # partials, which get the rest when they are called, those of libraries too


def check_required_groups(config: Config) -> None:
    """Refuse a config without a part that every run has, as `objective=null` or a yaml without `_target_` leaves it.

    Raises UserError.
    """
    for key in ("objective", "paths", "model", *INJECTED_ARGS):
        if not isinstance(config.get(key), dict):
            raise UserError(f"There is no {key} in this config, and every run needs one: set it, or do not remove it.")
    for key in config.keys() - RUN_KEYS - {"allow"}:  # why that is refused is said where packages are checked
        raise UserError(f"There is no {key} in a run's config.{suggest_alias(key) or did_you_mean(key, RUN_KEYS)}")
    for key in config["objective"].keys() - {"metric", "mode"}:
        raise UserError(f"There is no objective.{key}.{did_you_mean(key, ('metric', 'mode'))}")
    for key, value in flatten({name: config[name] for name in ("objective", "paths")}).items():
        if value is None:
            raise UserError(f"{key}=null has no meaning: give a value, or leave it out.")
    for group in ("model", *INJECTED_ARGS):
        if group not in MULTI_NODE_GROUPS and (config[group] or group not in OPTIONAL_GROUPS):
            check_has_target(config[group], group)


def suggest_alias(key: str) -> str:
    """' Did you mean …?' for another tool's name of a key, whatever stands before it; or nothing."""
    known = ALIASES.get(key.rpartition(".")[2])
    return f" Did you mean {known}?" if known and known.lstrip("+") != key else ""


def validate_config(config: Config, choices: dict[str, str]) -> None:
    """Refuse what cannot work: unknown keywords, values that do not fit, choices that do not fit together.

    `choices` names the option of each group, for the messages. Raises UserError.
    """
    check_value("name", config.get("name"), str | None)
    check_value("seed", config["seed"], type_hints(derive_seed)["seed"])
    check_value("threads", config["threads"], type_hints(setup_process)["threads"])
    check_optional_groups(config, choices)
    check_model_fits_data(config, choices)
    for group, injected in INJECTED_ARGS.items():
        for path, node in iter_nodes(config, group):
            if node:
                check_node(node, group, path, injected)
    check_node(config["model"], "model", "model", get_class(config, "data").data_properties)
    check_objective(config)


def iter_nodes(config: Config, group: str) -> list[tuple[str, Any]]:
    """(dotted path, node) of a group: one node, or any number of callbacks and loggers."""
    if group not in MULTI_NODE_GROUPS:
        return [(group, config[group])]
    return [(f"{group}.{name}", node) for name, node in config[group].items()]


def check_has_target(node: Any, path: str) -> None:
    """Raises UserError for a node that names no class."""
    if not isinstance(node, dict) or "_target_" not in node:
        raise UserError(f"{path} names no class: write _target_: <package>.<class> into its yaml.")


def check_node(node: Config, group: str, path: str, injected: tuple[str, ...]) -> None:
    """Refuse arguments that a node's target does not take. Raises UserError."""
    check_has_target(node, path)
    target = resolve_target(node["_target_"], group, path)
    if group == "trainer":
        for key in node.keys() & TRAINER_REMEDIES.keys():
            raise UserError(f"trainer.{key} is not for seqlab's runs: {TRAINER_REMEDIES[key]}.")
    is_given = takes_injection(target) or group in COMPLETED_GROUPS
    check_arguments(node, target, path, injected if is_given else ())


def check_objective(config: Config) -> None:
    """Refuse an objective that no run measures. Raises UserError."""
    metric, mode, task = config["objective"]["metric"], config["objective"]["mode"], get_class(config, "task")
    if mode not in ("min", "max"):
        raise UserError(f"objective.mode={mode} is unknown: use min or max.")
    known = ["auto", "train/loss", *(f"val/{name}" for name in (*task.metric_names, *task.derived_names))]
    if metric not in known:
        raise UserError(f"objective.metric={metric} is not measured by this task.{did_you_mean(str(metric), known)}")


def check_optional_groups(config: Config, choices: dict[str, str]) -> None:
    """Refuse a tokenizer or an adapter that would have no effect, and a tokenizer that is missing. Raises UserError."""
    known = parameters(get_class(config, "data"))
    if config["tokenizer"] and "tokenizer" not in known:
        raise UserError(
            f"tokenizer={choices.get('tokenizer')} has no effect: data={choices.get('data')} uses no tokenizer. Leave it out."
        )
    if config["adapter"] and not get_class(config, "task").supports_adapter:
        raise UserError(
            f"adapter={choices.get('adapter')} has no effect: task={choices.get('task')} trains without one. Leave it out."
        )
    if not config["tokenizer"] and "tokenizer" in required_parameters(get_class(config, "data")):
        options = ", ".join(f"tokenizer={name}" for name in groups.group_options()["tokenizer"] if name != "none")
        raise UserError(f"data={choices.get('data')} needs a tokenizer: choose {options}.")


def check_model_fits_data(config: Config, choices: dict[str, str]) -> None:
    """Refuse a model that needs properties which the data do not have, and a task for other data. Raises UserError."""
    properties = get_class(config, "data").data_properties
    model, data, task = (choices.get(group) for group in ("model", "data", "task"))
    offered = {name for option in groups.group_options()["data"] for name in read_data_properties(option)}
    check_node(config["model"], "model", "model", tuple(offered | set(properties)))  # what no data can give comes first
    missing = missing_model_args(config["model"], properties)
    if missing:
        needed = set(missing)
        models = groups.compatible_options("model", lambda name: not missing_model_args({"_target_": name}, properties))
        datas = [option for option in groups.group_options()["data"] if needed <= set(read_data_properties(option))]
        raise UserError(
            f"model={model} and data={data} do not fit: {model} needs {' and '.join(missing)}, and {data} has "
            f"{', '.join(properties)}. For data={data} use model={' or '.join(models)}"
            + (f"; for model={model} use data={' or '.join(datas)}." if datas else ".")
        )
    if not set(get_class(config, "task").required_properties) <= set(properties):
        raise UserError(f"task={task} and data={data} do not fit: leave task= out, and it follows the data.")


def read_data_properties(option: str) -> tuple[str, ...]:
    """The properties that an option of the group data has."""
    return resolve_target(groups.read_option("data", option)["_target_"], "data").data_properties


def missing_model_args(model: Config, properties: tuple[str, ...]) -> list[str]:
    """The required keywords of a model that neither its node nor the data give."""
    target = resolve_target(model["_target_"], "model")
    given = {*model, *(properties if takes_injection(target) else ())}
    return [keyword for keyword in required_parameters(target) if keyword not in given]
