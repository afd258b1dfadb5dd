"""What is refused before anything is read: missing groups, values that do not fit, choices that do not fit together."""

import datetime
from typing import Any, Literal

from seqlab.config import groups
from seqlab.config.nodes import flatten
from seqlab.config.remedies import TRAINER_REMEDIES, UNSUPPORTED_TARGETS, suggest_alias
from seqlab.config.signatures import (
    SCHEDULE_KEYS,
    check_arguments,
    check_value,
    parameters,
    required_parameters,
    type_hints,
)
from seqlab.config.targets import get_class, is_within, resolve_target, takes_injection, user_packages
from seqlab.device import setup_process
from seqlab.errors import UserError, did_you_mean
from seqlab.seeding import derive_seed
from seqlab.types import Fraction, NonNegativeInt, PositiveInt

Config = dict[str, Any]
# What build.py gives a group's target besides its config, if the target's signature names it.
INJECTED_ARGS = {
    "tokenizer": ("texts",),
    "data": ("tokenizer",),
    "adapter": (),
    "task": ("model", "optimizer", "schedule", "reference", "seed"),
    "optimizer": ("params", "named_parameters"),
    "schedule": ("optimizer", "total_steps"),
    "callbacks": ("run", "config", "objective", "tokenizer", "adapter", "seed"),
    "logger": ("run", "config", "command", "purge_step"),
    "trainer": ("run", "callbacks", "logger", "plugins"),
}
FREE_ARGS = {"seed", "total_steps"}  # which a config may set besides
PLATEAU_RANGES = {
    "factor": Fraction,
    "patience": NonNegativeInt,
    "cooldown": NonNegativeInt,
}  # torch checks none, or late
RESERVED_NAMES = ("last", "best")
RUN_KEYS = {"name", "seed", "init_from", "freeze", "resume", "threads", "objective", "paths", "model", *INJECTED_ARGS}
# What seqlab itself reads of a config.
REQUIRED_KEYS = {"seed", "threads", "init_from", "objective.metric", "objective.mode", "paths.runs"} | {
    f"trainer.{key}"
    for key in "accelerator devices precision max_epochs max_steps accumulate_grad_batches limit_train_batches "
    "val_check_interval check_val_every_n_epoch".split()
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
    if config.get("resume") is not None:
        raise UserError(
            f"resume={config['resume']} is for the command line, seqlab train resume=<run>: leave it null here."
        )
    for key in config["objective"].keys() - {"metric", "mode"}:
        raise UserError(f"There is no objective.{key}.{did_you_mean(key, ('metric', 'mode'))}")
    for key, value in flatten({name: config[name] for name in ("objective", "paths")}).items():
        if value is None:
            raise UserError(f"{key}=null has no meaning: give a value, or leave it out.")
    known = flatten(config)
    for key in REQUIRED_KEYS - known.keys():
        if any(other.startswith(f"{key}.") for other in known):  # a dictionary, as val_check_interval may be
            continue
        raise UserError(f"{key} is missing in this config: set it, or do not remove it.")
    for group in ("model", *INJECTED_ARGS):
        if group not in MULTI_NODE_GROUPS and (config[group] or group not in OPTIONAL_GROUPS):
            check_has_target(config[group], group)


def validate_config(config: Config, choices: dict[str, str]) -> None:
    """Refuse what cannot work: parts that are missing, unknown keywords, values that do not fit, choices that do not fit
    together.

    `choices` names the option of each group, for the messages. Raises UserError.
    """
    check_required_groups(config)
    check_value("name", config.get("name"), str | None)
    if config.get("name") in RESERVED_NAMES:
        raise UserError(f"name={config['name']} means another run wherever run= is typed: give another name.")
    check_value("seed", config["seed"], type_hints(derive_seed)["seed"])
    check_value("threads", config["threads"], type_hints(setup_process)["threads"])
    check_value("freeze", config.get("freeze"), PositiveInt | list[str] | None)
    if config.get("freeze") and config["adapter"]:
        raise UserError(f"freeze={config['freeze']} has no effect: an adapter freezes all other weights; leave it out.")
    check_optional_groups(config, choices)
    check_model_fits_data(config, choices)
    for group, injected in INJECTED_ARGS.items():
        for path, node in iter_nodes(config, group):
            if node:
                check_node(node, group, path, injected)
    check_node(config["model"], "model", "model", get_class(config, "data").data_properties)
    check_objective(config)
    check_monitors(config)
    check_end(config["trainer"])


def check_end(trainer: Config) -> None:
    """Refuse a run that would never end, and one that would end before its first step. Raises UserError."""
    max_time = trainer.get("max_time")
    if max_time is not None and not parse_time(max_time):
        raise UserError(f"trainer.max_time={max_time} leaves nothing to train in: give more, or leave it out.")
    if trainer["max_epochs"] is None and trainer["max_steps"] == -1 and max_time is None:
        raise UserError("This run has no end: give trainer.max_steps or trainer.max_epochs.")


def parse_time(max_time: str | dict[str, int]) -> datetime.timedelta:
    """What `trainer.max_time` says. Raises UserError."""
    units = ("days", "hours", "minutes", "seconds")
    try:
        limit = max_time if isinstance(max_time, dict) else dict(zip(units, map(int, max_time.split(":")), strict=True))
        return datetime.timedelta(**limit)
    except (TypeError, ValueError) as error:
        raise UserError(f"trainer.max_time={max_time} is not a time: write DD:HH:MM:SS, or {{hours: 2}}.") from error


def iter_nodes(config: Config, group: str) -> list[tuple[str, Any]]:
    """(dotted path, node) of a group: one node, or any number of callbacks and loggers."""
    if group not in MULTI_NODE_GROUPS:
        return [(group, config[group])]
    return [(f"{group}.{name}", node) for name, node in config[group].items()]


def check_has_target(node: Any, path: str) -> None:
    """Raises UserError for a node that names no class."""
    if not isinstance(node, dict):
        raise UserError(f"{path}={node} would replace all of {path}: set a key of it, such as {path}.<key>=….")
    if "_target_" not in node:
        raise UserError(f"{path} names no class: write _target_: <package>.<class> into its yaml.")


def check_node(node: Config, group: str, path: str, injected: tuple[str, ...]) -> None:
    """Refuse arguments that a node's target does not take. Raises UserError."""
    check_has_target(node, path)
    target = resolve_target(node["_target_"], group, path)
    if group == "trainer":
        for key in node.keys() & TRAINER_REMEDIES.keys():
            raise UserError(f"trainer.{key} is not for seqlab's runs: {TRAINER_REMEDIES[key]}.")
    if target.__name__ in UNSUPPORTED_TARGETS and target.__module__.startswith(("torch.", "lightning.")):
        raise UserError(f"{path} cannot be {target.__name__}: {UNSUPPORTED_TARGETS[target.__name__]}.")
    for key in node.keys() & set(injected) - FREE_ARGS:
        if group != "model" and node[key] is not None:
            raise UserError(f"{path}.{key} is what seqlab gives to {target.__name__}: leave it out.")
    if group == "schedule":
        check_schedule(node, target)
        node = {key: value for key, value in node.items() if key not in SCHEDULE_KEYS}
    is_given = takes_injection(target) or group in COMPLETED_GROUPS
    check_arguments(node, target, path, injected if is_given else ())


def check_schedule(node: Config, target: Any) -> None:
    """Refuse a schedule that would never move, or at another time than was meant. Raises UserError."""
    name, interval, monitor = target.__name__, node.get("interval"), node.get("monitor")
    check_value("schedule.interval", interval, Literal["step", "epoch"] | None)
    follows = any(base.__name__ == "ReduceLROnPlateau" for base in getattr(target, "__mro__", ()))
    if follows and not monitor:
        raise UserError("ReduceLROnPlateau follows a metric: name one, such as +schedule.monitor=val/loss.")
    for key, hint in PLATEAU_RANGES.items() if follows else ():
        check_value(f"schedule.{key}", node.get(key, 0), hint)
    if not follows and monitor:
        raise UserError(f"schedule.monitor={monitor} has no effect: {name} follows no metric; leave it out.")
    if interval and (follows or "total_steps" in parameters(target)):
        reason = "steps when its metric was measured" if follows else "counts steps"
        raise UserError(f"schedule.interval={interval} has no effect: {name} {reason}; leave it out.")


def check_monitors(config: Config) -> None:
    """Refuse a metric that no run measures, of a schedule and of Lightning's callbacks, such as EarlyStopping.

    A task or a callback of the user's own may log any. Raises UserError.
    """
    targets = [config["task"], *(node for node in config["callbacks"].values() if node)]
    if any(is_within(node["_target_"], user_packages()) for node in targets):
        return
    nodes = {"schedule": config["schedule"]} | {f"callbacks.{name}": node for name, node in config["callbacks"].items()}
    known = measured_metrics(config)
    for path, node in nodes.items():
        monitor = node.get("monitor") if node else None
        if monitor and monitor not in known:
            raise UserError(f"{path}.monitor={monitor} is not measured.{did_you_mean(str(monitor), known)}")
        if str(monitor).startswith("val/") and not has_validation(config):
            raise UserError(
                f"{path}.monitor={monitor} is never measured without validation: set data.val_fraction and "
                "trainer.limit_val_batches above 0."
            )


def has_validation(config: Config) -> bool:
    """True if there is a validation split, and it is not switched off."""
    has_split = config["data"].get("val_path") or config["data"].get("val_fraction", 1) > 0
    return bool(has_split) and config["trainer"].get("limit_val_batches", 1.0) != 0


def check_objective(config: Config) -> None:
    """Refuse an objective that no run measures. Raises UserError."""
    metric, mode = config["objective"]["metric"], config["objective"]["mode"]
    if mode not in ("min", "max"):
        raise UserError(f"objective.mode={mode} is unknown: use min or max.")
    known = ["auto", *measured_metrics(config)]
    if metric not in known:
        raise UserError(f"objective.metric={metric} is not measured by this task.{did_you_mean(str(metric), known)}")


def measured_metrics(config: Config) -> list[str]:
    """The metrics that training measures."""
    task = get_class(config, "task")
    return ["train/loss", *(f"val/{name}" for name in (*task.metric_names, *task.derived_names))]


def check_optional_groups(config: Config, choices: dict[str, str]) -> None:
    """Refuse a tokenizer or an adapter that would have no effect, and a tokenizer that is missing. Raises UserError."""
    known = parameters(get_class(config, "data"))
    if config["tokenizer"] and "tokenizer" not in known:
        raise UserError(
            f"tokenizer={choices.get('tokenizer')} has no effect: data={choices.get('data')} are numbers, and use no tokenizer. "
            "Leave it out, or choose a text."
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
