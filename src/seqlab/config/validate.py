"""What is refused before anything is read: keywords that nobody takes, choices that do not fit together."""

from typing import Any

from seqlab.config import groups, targets
from seqlab.config.nodes import flat
from seqlab.errors import Mistake, did_you_mean

Config = dict[str, Any]
# What other parts of the program give a group's target besides its config, if it names them.
GIVEN = {
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
SEVERAL = ("callbacks", "logger")  # groups of any number of nodes
MAY_BE_EMPTY = ("tokenizer", "adapter")


def check_whole(config: Config) -> None:
    """Refuse a config without what every run has, as `objective=null` or a yaml without `_target_` leaves it.

    Raises Mistake.
    """
    for key in ("objective", "paths", "model", *GIVEN):
        if not isinstance(config.get(key), dict):
            raise Mistake(f"There is no {key} in this config, and every run has one: set it, or do not take it away.")
    for key in config["objective"].keys() - {"metric", "mode"}:
        raise Mistake(f"There is no objective.{key}.{did_you_mean(key, ('metric', 'mode'))}")
    for key, value in flat({name: config[name] for name in ("objective", "paths")}).items():
        if value is None:
            raise Mistake(f"{key}=null says nothing: give a value, or leave it out.")
    for group in ("model", *GIVEN):
        if group not in SEVERAL and (config[group] or group not in MAY_BE_EMPTY):
            check_class(config[group], group)


def check(config: Config, chosen: dict[str, str]) -> None:
    """Refuse what cannot work: unknown keywords, values of another type, choices that do not fit together.

    `chosen` names the choice of each group, for the messages. Raises Mistake.
    """
    check_objective(config)
    check_choices(config, chosen)
    check_fit(config, chosen)
    for group, given in GIVEN.items():
        for path, node in nodes(config, group):
            if node:
                check_node(node, group, path, given)
    check_node(config["model"], "model", "model", targets.class_of(config, "data").facts)


def nodes(config: Config, group: str) -> list[tuple[str, Any]]:
    """(dotted path, node) of what a group has: one, or any number of callbacks and loggers."""
    if group not in SEVERAL:
        return [(group, config[group])]
    return [(f"{group}.{name}", node) for name, node in config[group].items()]


def check_class(node: Any, path: str) -> None:
    """Refuse a node that names no class."""
    if not isinstance(node, dict) or "_target_" not in node:
        raise Mistake(f"{path} names no class: write _target_: <package>.<class> into its yaml.")


def check_objective(config: Config) -> None:
    """Refuse an objective that no run has."""
    metric, mode, task = config["objective"]["metric"], config["objective"]["mode"], targets.class_of(config, "task")
    if mode not in ("min", "max"):
        raise Mistake(f"objective.mode={mode} is unknown: take min or max.")
    known = ["auto", "train/loss", *(f"val/{name}" for name in (*task.measures, *task.derives))]
    if metric not in known:
        raise Mistake(f"objective.metric={metric} is measured by nothing here.{did_you_mean(str(metric), known)}")


def check_node(node: Config, group: str, path: str, given: tuple[str, ...]) -> None:
    """Refuse keywords that a node's target does not take, and required ones that nobody gives."""
    check_class(node, path)
    target = targets.resolve(node["_target_"], group, path)
    targets.check_keywords(node, target, path, given)
    for keyword in targets.required(target):
        if keyword not in node and keyword not in given:
            raise Mistake(f"{path} needs {keyword}: give it with {path}.{keyword}=….")


def check_choices(config: Config, chosen: dict[str, str]) -> None:
    """Refuse a choice that nothing in the run uses, and one that is missing."""
    for group, user in (("tokenizer", "data"), ("adapter", "task")):
        parameters = targets.keywords(targets.class_of(config, user))
        if config[group] and group not in parameters:
            raise Mistake(
                f"{group}={chosen.get(group)} is used by nothing here, as {user}={chosen.get(user)} takes no "
                f"{group}: leave it out."
            )
        if not config[group] and group in parameters and parameters[group].default is parameters[group].empty:
            options = ", ".join(f"{group}={c}" for c in groups.groups()[group] if c != "none")
            raise Mistake(f"{user}={chosen.get(user)} needs a {group}: choose {options}.")


def check_fit(config: Config, chosen: dict[str, str]) -> None:
    """Refuse a model that needs facts which the data do not have, and a task for other data."""
    facts = targets.class_of(config, "data").facts
    model, data, task = (chosen.get(group) for group in ("model", "data", "task"))
    lacking = missing(config["model"], facts)
    if lacking:
        models = groups.fitting("model", lambda target: not missing({"_target_": target}, facts))
        needs = targets.required(targets.class_of(config, "model"))
        data_class: Any = targets.resolve
        datas = groups.fitting("data", lambda target: set(needs) <= set(data_class(target, "data").facts))
        raise Mistake(
            f"model={model} and data={data} do not fit: {model} needs {' and '.join(lacking)}, and {data} has "
            f"{', '.join(facts)}. For data={data} take model={' or '.join(models)}; "
            f"for model={model} take data={' or '.join(datas)}."
        )
    if not set(targets.class_of(config, "task").requires) <= set(facts):
        raise Mistake(f"task={task} and data={data} do not fit: leave task= out, and it follows the data.")


def missing(model: Config, facts: tuple[str, ...]) -> list[str]:
    """The required keywords of a model that neither its node nor the facts give."""
    return [
        k for k in targets.required(targets.resolve(model["_target_"], "model")) if k not in facts and k not in model
    ]
