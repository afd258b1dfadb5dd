"""Config -> objects. The only module that instantiates."""

import re
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from torch import nn

from seqlab.config import targets
from seqlab.errors import UserError
from seqlab.runs.objective import Objective
from seqlab.runs.ranks import get_rank

Config = dict[str, Any]


def instantiate_node(node: Config, group: str, **given: Any) -> Any:
    """The object of a node. `given` are what the target wants of them; a ValueError in a constructor is a Mistake."""
    target = targets.resolve_target(node["_target_"], group)
    wanted = {name: value for name, value in given.items() if name in targets.parameters(target)}
    maker = instantiate({**node, "_partial_": True, "_convert_": "all"})
    try:
        return maker(**wanted)
    except (ValueError, TypeError) as error:
        raise as_user_error(error, group) from error


def as_user_error(error: Exception, group: str) -> UserError:
    """What a constructor refuses is the user's mistake; a message that begins with a keyword gets its group's name."""
    text = str(error)
    if isinstance(error, UserError):
        return error
    if re.match(r"\w+\.\w+=", text):
        return UserError(text)
    return UserError(f"{group}.{text}" if re.match(r"\w+=", text) else f"{group}: {text}")


def build_partial(node: Config) -> Any:
    """What is completed later: an optimizer, a schedule, an adapter."""
    return instantiate({**node, "_partial_": True, "_convert_": "all"})


def build_schedule(node: Config) -> Any:
    """A schedule completed by optimizer and total steps, if its target wants them (torch's own mostly do not)."""
    maker = build_partial(node)
    if "total_steps" in targets.parameters(maker.func):
        return maker
    return lambda optimizer, total_steps: maker(optimizer)


def build_tokenizer(config: Config, run: Path) -> Any:
    """The run's own tokenizer as saved, else a new one, which learns from the training text if it learns; or None."""
    if not config["tokenizer"]:
        return None
    kept = run / "tokenizer"
    if kept.is_dir():
        return targets.get_class(config, "tokenizer").load(kept)
    source = targets.get_class(config, "data")
    text = None
    if "text" in targets.parameters(targets.get_class(config, "tokenizer")):
        if not hasattr(source, "tokenizer_training_texts"):
            raise UserError(
                f"{config['tokenizer']['_target_']} learns from a text, and these data offer none: take tokenizer=byte."
            )
        text = source.tokenizer_training_texts(**{k: v for k, v in config["data"].items() if not k.startswith("_")})
    new = instantiate_node(config["tokenizer"], "tokenizer", text=text)
    if get_rank():
        return new  # the first one saves it
    partial_folder = run / "tokenizer.part"
    partial_folder.mkdir(exist_ok=True)
    new.save(partial_folder)
    partial_folder.rename(kept)
    return new


def build_data(config: Config, tokenizer: Any) -> Any:
    """The data, read."""
    module = instantiate_node(config["data"], "data", tokenizer=tokenizer)
    module.sampler_seed = config["seed"]
    try:
        module.setup()
    except ValueError as error:
        raise as_user_error(error, "data") from error
    return module


def get_data_properties(data: Any) -> dict[str, Any]:
    """The data_properties of data that were read."""
    return {name: getattr(data, name) for name in data.data_properties}


def build_model(node: Config, data_properties: dict[str, Any], seed: int = 0) -> nn.Module:
    """The model, given those data_properties that its constructor names. Its init is a function of the seed alone."""
    node = dict(node)
    names = targets.parameters(targets.resolve_target(node["_target_"], "model"))
    for name, value in data_properties.items():
        if name not in names:
            continue
        if node.get(name) is None:
            node[name] = value
        elif name == "context_length" and node[name] < value:
            raise UserError(
                f"model.context_length={node[name]} is shorter than data.context_length={value}: "
                f"take data.context_length={node[name]}, or a longer model."
            )
        elif name != "context_length" and node[name] != value:
            raise UserError(f"The model has {name}={node[name]}, the data have {value}: they must agree.")
    torch.manual_seed(seed)
    return instantiate_node(node, "model")


def build_task(config: Config, model: nn.Module) -> Any:
    """The LightningModule with model, optimizer and schedule."""
    return instantiate_node(
        config["task"],
        "task",
        model=model,
        optimizer=build_partial(config["optimizer"]),
        schedule=build_schedule(config["schedule"]),
        adapter=build_partial(config["adapter"]) if config["adapter"] else None,
        seed=config["seed"],
    )


def build_trainer(config: Config, run: Path, callbacks: list[Any], plugins: list[Any], **given: Any) -> Any:
    """Lightning's Trainer with the run's callbacks and loggers, each given those of `given` that it names."""
    described = {"config": config, "run": run, "seed": config["seed"]} | given
    watching = [
        instantiate_node(node, "callbacks", **described, objective=Objective(**config["objective"]))
        for node in config["callbacks"].values()
        if node
    ]
    loggers = [instantiate_node(node, "logger", **described) for node in config["logger"].values() if node]
    fixed = {
        "callbacks": callbacks + watching,
        "logger": loggers or False,
        "plugins": plugins,
        "default_root_dir": str(run),
        "enable_checkpointing": any(hasattr(callback, "save_last") for callback in watching),
        "enable_progress_bar": any(hasattr(callback, "enable") for callback in watching),
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "use_distributed_sampler": False,
    }
    from lightning.fabric.utilities.exceptions import MisconfigurationException

    try:
        return instantiate_node(config["trainer"], "trainer", **fixed)
    except MisconfigurationException as error:
        raise UserError(f"trainer: {error}") from error
