"""Config -> objects. The only module that instantiates."""

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from seqlab.adapters.base import Adapter
from seqlab.config.signatures import NODE_KEYS, SCHEDULE_KEYS, parameters
from seqlab.config.targets import get_class, is_user_code, resolve_target, takes_injection
from seqlab.errors import UserError, check_kind
from seqlab.runs.ranks import get_rank
from seqlab.runs.run_info import FILE_NAME as RUN_INFO
from seqlab.runs.run_info import read_run_info
from seqlab.tokenizers.base import load_tokenizer, save_tokenizer

Config = dict[str, Any]


def instantiate_node(node: Config, group: str, **injected: Any) -> Any:
    """The object of a node. `injected` are given to a target that names them, unless the config or a library owns it.

    Raises UserError for values that a constructor refuses; an exception in a user's own constructor keeps its traceback.
    """
    target = resolve_target(node["_target_"], group)
    named = {name: value for name, value in injected.items() if name in parameters(target) and name not in node}
    return build_partial(node, group)(**(named if takes_injection(target) else {}))


class NodePartial(partial[Any]):
    """A node's target with its keywords. What a constructor of seqlab's or a library's refuses is a UserError."""

    group: str

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        """Call the target with the rest."""
        try:
            return super().__call__(*args, **keywords)
        except UserError as error:
            raise name_group(error, self.group) from error
        except (ValueError, TypeError) as error:
            is_bug = isinstance(error, TypeError) and takes_injection(self.func)
            if is_bug or is_user_code(self.func):
                raise
            raise name_group(error, self.group) from error


def name_group(error: Exception, group: str) -> UserError:
    """The error of a constructor as the user's: a message that begins with a keyword gets its group's name."""
    text = str(error)
    if re.match(r"\w+=", text):
        return UserError(f"{group}.{text}")
    return error if isinstance(error, UserError) else UserError(f"{group}: {text}")


def build_partial(node: Config, group: str) -> Any:
    """The node's target with its keywords, to be called with the rest; nodes inside it are instantiated.

    Not by Hydra's `instantiate`, which resolves `${…}` in texts that were resolved and checked already, and so can run code.
    """
    target = resolve_target(node["_target_"], group)
    keywords = {key: build_value(value, group) for key, value in node.items() if key not in NODE_KEYS}
    make = NodePartial(target, **keywords)
    make.group = group
    return make


def build_value(value: Any, group: str) -> Any:
    """A plain value as it is, a node inside it as an object."""
    if isinstance(value, list):
        return [build_value(inner, group) for inner in value]
    if not isinstance(value, dict):
        return value
    if "_target_" in value:
        make = build_partial(value, group)
        return make if value.get("_partial_") else make()
    return {key: build_value(inner, group) for key, inner in value.items()}


@dataclass
class Schedule:
    """A callable (optimizer, total_steps) -> scheduler, and when it steps: each step, each epoch, or when `monitor` was
    measured."""

    make: NodePartial
    interval: str = "step"
    monitor: str | None = None

    def __call__(self, optimizer: Any, total_steps: int) -> Any:
        """Build the scheduler."""
        return complete_schedule(self.make, optimizer, total_steps)


def build_schedule(node: Config) -> Schedule:
    """The schedule of a node."""
    when = {key: value for key, value in node.items() if key in SCHEDULE_KEYS and value is not None}
    make = build_partial({key: value for key, value in node.items() if key not in SCHEDULE_KEYS}, "schedule")
    return Schedule(make, **when)


def complete_schedule(make: NodePartial, optimizer: Any, total_steps: int) -> Any:
    """A scheduler, and those inside of it, as SequentialLR has them; one that names no total_steps is not given any."""
    inner = {
        key: [complete_schedule(value, optimizer, total_steps) for value in values]
        for key, values in make.keywords.items()
        if isinstance(values, list) and any(isinstance(value, NodePartial) for value in values)
    }
    known = parameters(make.func)
    given = {"total_steps": total_steps} if "total_steps" in known and "total_steps" not in make.keywords else {}
    return make(optimizer=optimizer, **given, **inner)


def build_tokenizer(config: Config, run: Path) -> Any:
    """The run's saved tokenizer; else a new one, which learns if it can, and is saved; or None for data without one."""
    if not config["tokenizer"]:
        return None
    tokenizer_class, saved = get_class(config, "tokenizer"), run / "tokenizer"
    if saved.is_dir():
        return load_tokenizer(tokenizer_class, saved)
    if (run / RUN_INFO).is_file() and read_run_info(run)["data_properties"]:  # it had one when it read its data
        raise UserError(f"{saved} is not there any more, and says what the tokens of this run mean: restore it.")
    texts = training_texts(config) if "texts" in parameters(tokenizer_class) else None
    tokenizer = instantiate_node(config["tokenizer"], "tokenizer", texts=texts)
    if not get_rank():
        save_tokenizer(tokenizer, saved)
    return tokenizer


def training_texts(config: Config) -> Any:
    """The texts that a tokenizer learns from, as an iterator: those of the training split, or of all splits."""
    data_class, tokenizer_class = get_class(config, "data"), get_class(config, "tokenizer")
    if not hasattr(data_class, "tokenizer_training_texts"):
        raise UserError(
            f"{config['tokenizer']['_target_']} learns from texts, and {config['data']['_target_']} has no "
            "tokenizer_training_texts: use tokenizer=byte."
        )
    given = {key: value for key, value in config["data"].items() if not key.startswith("_")}
    return data_class.tokenizer_training_texts(getattr(tokenizer_class, "learns_from", "train"), **given)


def build_data(config: Config, tokenizer: Any, trained_on: Config | None = None) -> Any:
    """The DataModule, with its splits read. Raises UserError for a ValueError of seqlab's and of a library's.

    A series has the columns and the scale of the one that a model was `trained_on`, of which these are the data properties.
    """
    kept = parameters(get_class(config, "data")).keys() & (trained_on or {}).keys() & {"columns", "mean", "std"}
    node = config["data"] | {key: trained_on[key] for key in kept if trained_on}
    data = instantiate_node(node, "data", tokenizer=tokenizer)
    data.sampler_seed = config["seed"]
    try:
        data.setup()
    except ValueError as error:
        if is_user_code(type(data)) and not isinstance(error, UserError):
            raise
        raise name_group(error, "data") from error
    return data


def get_data_properties(data: Any) -> dict[str, Any]:
    """The properties of data that were read, by name."""
    return {name: getattr(data, name) for name in data.data_properties}


def complete_model_node(node: Config, data_properties: dict[str, Any]) -> Config:
    """A model's node with those data properties that its constructor names. Raises UserError if it has others already."""
    target = resolve_target(node["_target_"], "model")
    node, known = dict(node), parameters(target) if takes_injection(target) else {}
    for name in data_properties.keys() & known.keys():
        value = data_properties[name]
        if node.get(name) is None:
            node[name] = value
        elif name == "context_length" and node[name] < value:
            raise UserError(
                f"model.context_length={node[name]} is shorter than data.context_length={value}: "
                f"use data.context_length={node[name]}, or a longer model."
            )
        elif name == "vocab_size" and node[name] > value:
            continue  # padded, as published ones often are
        elif name != "context_length" and node[name] != value:
            tokens = (
                " Leave model.vocab_size out, or type the tokenizer= of the weights." if name == "vocab_size" else ""
            )
            raise UserError(f"The model has {name}={node[name]}, the data have {value}: they must agree.{tokens}")
    return node


def build_model(node: Config, data_properties: dict[str, Any], seed: int = 0) -> nn.Module:
    """The model, given those data properties that its constructor names. Its initialisation depends on the seed alone."""
    node = complete_model_node(node, data_properties)
    torch.manual_seed(seed)
    model = instantiate_node(node, "model")
    check_kind(model, nn.Module, f"model: {node['_target_']}")
    return model


def build_adapter(config: Config) -> Adapter | None:
    """The adapter, not yet applied; None for a run that trains all weights."""
    return instantiate_node(config["adapter"], "adapter") if config["adapter"] else None


def needs_reference(config: Config) -> bool:
    """True if the task names a reference model."""
    return "reference" in parameters(get_class(config, "task"))


def build_task(config: Config, model: nn.Module, reference: Any = None) -> Any:
    """The LightningModule, given the model, its optimizer and schedule, and a reference model if it names one."""
    return instantiate_node(
        config["task"],
        "task",
        model=model,
        optimizer=build_partial(config["optimizer"], "optimizer"),
        schedule=build_schedule(config["schedule"]),
        reference=reference,
        seed=config["seed"],
    )


def build_trainer(config: Config, run: Path, callbacks: list[Any], plugins: list[Any], **injected: Any) -> Any:
    """The Trainer with `callbacks` first, then those of the config. They and the loggers may name what is `injected`."""
    from lightning.pytorch import Callback  # most of what builds needs no Lightning

    injected |= {"config": config, "run": run, "seed": config["seed"]}
    own = [instantiate_node(node, "callbacks", **injected) for node in config["callbacks"].values() if node]
    for made, node in zip(own, filter(None, config["callbacks"].values()), strict=True):
        check_kind(made, Callback, f"callbacks: {node['_target_']}")
    nodes = [node for node in config["logger"].values() if node]
    if get_rank():  # rank 0 alone logs; callbacks of Lightning's want a logger on every rank
        from lightning.pytorch.loggers.logger import DummyLogger

        loggers: list[Any] = [DummyLogger() for _ in nodes]
    else:
        loggers = [instantiate_node(node, "logger", **injected) for node in nodes]
    return instantiate_node(
        config["trainer"], "trainer", run=run, callbacks=callbacks + own, logger=loggers, plugins=plugins
    )
