"""What is refused before anything is read: keywords that nobody takes, choices that do not fit together."""

from typing import Any

from seqlab.config import groups, targets
from seqlab.config.nodes import flatten
from seqlab.errors import UserError, did_you_mean

Config = dict[str, Any]
# What other parts of the program give a group's target besides its config, if it names them.
INJECTED_ARGS = {
    "tokenizer": ("text",),
    "data": ("tokenizer",),
    "task": ("model", "optimizer", "schedule", "adapter", "seed"),
    "adapter": ("model",),
    "optimizer": ("params",),
    "schedule": ("optimizer", "total_steps"),
    "callbacks": ("run", "config", "objective", "tokenizer", "seed"),
    "logger": ("run", "config", "command", "purge_step"),
    "trainer": (),
}
MULTI_NODE_GROUPS = ("callbacks", "logger")  # groups of any number of nodes
OPTIONAL_GROUPS = ("tokenizer", "adapter")


def check_required_groups(config: Config) -> None:
    """Refuse a config without what every run has, as `objective=null` or a yaml without `_target_` leaves it.

    Raises Mistake.
    """
    for key in ("objective", "paths", "model", *INJECTED_ARGS):
        if not isinstance(config.get(key), dict):
            raise UserError(f"There is no {key} in this config, and every run has one: set it, or do not take it away.")
    for key in config["objective"].keys() - {"metric", "mode"}:
        raise UserError(f"There is no objective.{key}.{did_you_mean(key, ('metric', 'mode'))}")
    for key, value in flatten({name: config[name] for name in ("objective", "paths")}).items():
        if value is None:
            raise UserError(f"{key}=null says nothing: give a value, or leave it out.")
    for group in ("model", *INJECTED_ARGS):
        if group not in MULTI_NODE_GROUPS and (config[group] or group not in OPTIONAL_GROUPS):
            check_has_target(config[group], group)


def validate_config(config: Config, chosen: dict[str, str]) -> None:
    """Refuse what cannot work: unknown keywords, values of another type, choices that do not fit together.

    `chosen` names the choice of each group, for the messages. Raises Mistake.
    """
    check_objective(config)
    check_optional_groups(config, chosen)
    check_model_fits_data(config, chosen)
    for group, given in INJECTED_ARGS.items():
        for path, node in iter_nodes(config, group):
            if node:
                check_node(node, group, path, given)
    check_node(config["model"], "model", "model", targets.get_class(config, "data").data_properties)


def iter_nodes(config: Config, group: str) -> list[tuple[str, Any]]:
    """(dotted path, node) of what a group has: one, or any number of callbacks and loggers."""
    if group not in MULTI_NODE_GROUPS:
        return [(group, config[group])]
    return [(f"{group}.{name}", node) for name, node in config[group].items()]


def check_has_target(node: Any, path: str) -> None:
    """Refuse a node that names no class."""
    if not isinstance(node, dict) or "_target_" not in node:
        raise UserError(f"{path} names no class: write _target_: <package>.<class> into its yaml.")


def check_objective(config: Config) -> None:
    """Refuse an objective that no run has."""
    metric, mode, task = config["objective"]["metric"], config["objective"]["mode"], targets.get_class(config, "task")
    if mode not in ("min", "max"):
        raise UserError(f"objective.mode={mode} is unknown: take min or max.")
    known = ["auto", "train/loss", *(f"val/{name}" for name in (*task.metric_names, *task.derived_names))]
    if metric not in known:
        raise UserError(f"objective.metric={metric} is measured by nothing here.{did_you_mean(str(metric), known)}")


def check_node(node: Config, group: str, path: str, given: tuple[str, ...]) -> None:
    """Refuse keywords that a node's target does not take, and required ones that nobody gives."""
    check_has_target(node, path)
    target = targets.resolve_target(node["_target_"], group, path)
    targets.check_keywords(node, target, path, given)
    for keyword in targets.required_parameters(target):
        if keyword not in node and keyword not in given:
            raise UserError(f"{path} needs {keyword}: give it with {path}.{keyword}=….")


def check_optional_groups(config: Config, chosen: dict[str, str]) -> None:
    """Refuse a choice that nothing in the run uses, and one that is missing."""
    for group, user in (("tokenizer", "data"), ("adapter", "task")):
        parameters = targets.parameters(targets.get_class(config, user))
        if config[group] and group not in parameters:
            raise UserError(
                f"{group}={chosen.get(group)} is used by nothing here, as {user}={chosen.get(user)} takes no "
                f"{group}: leave it out."
            )
        if not config[group] and group in parameters and parameters[group].default is parameters[group].empty:
            options = ", ".join(f"{group}={c}" for c in groups.group_options()[group] if c != "none")
            raise UserError(f"{user}={chosen.get(user)} needs a {group}: choose {options}.")


def check_model_fits_data(config: Config, chosen: dict[str, str]) -> None:
    """Refuse a model that needs data_properties which the data do not have, and a task for other data."""
    data_properties = targets.get_class(config, "data").data_properties
    model, data, task = (chosen.get(group) for group in ("model", "data", "task"))
    lacking = missing_model_args(config["model"], data_properties)
    if lacking:
        models = groups.compatible_options(
            "model", lambda target: not missing_model_args({"_target_": target}, data_properties)
        )
        needs = targets.required_parameters(targets.get_class(config, "model"))
        data_class: Any = targets.resolve_target
        datas = groups.compatible_options(
            "data", lambda target: set(needs) <= set(data_class(target, "data").data_properties)
        )
        raise UserError(
            f"model={model} and data={data} do not fit: {model} needs {' and '.join(lacking)}, and {data} has "
            f"{', '.join(data_properties)}. For data={data} take model={' or '.join(models)}; "
            f"for model={model} take data={' or '.join(datas)}."
        )
    if not set(targets.get_class(config, "task").required_properties) <= set(data_properties):
        raise UserError(f"task={task} and data={data} do not fit: leave task= out, and it follows the data.")


def missing_model_args(model: Config, data_properties: tuple[str, ...]) -> list[str]:
    """The required keywords of a model that neither its node nor the data_properties give."""
    return [
        k
        for k in targets.required_parameters(targets.resolve_target(model["_target_"], "model"))
        if k not in data_properties and k not in model
    ]
