"""How weights are put into a model: a source's before training, a run's own after it."""

import copy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from seqlab.adapters.base import Adapter
from seqlab.build import build_adapter, build_model, needs_reference
from seqlab.config.targets import check_targets, resolve_target
from seqlab.errors import UserError
from seqlab.runs import checkpoints
from seqlab.runs.folder import read_config
from seqlab.runs.run_info import read_run_info
from seqlab.weights.hf_folder import REMEDY, is_hf_folder, read_state_dict
from seqlab.weights.hub import find_folder
from seqlab.weights.sources import WeightsSource, compute_checksum, resolve_init_from

Config = dict[str, Any]
MOVED_BASE = "If it has moved, type init_from=<where it is now>."


@torch.random.fork_rng(devices=[])  # what is drawn afterwards follows the run's seed and not the source's
def load_source(model: nn.Module, source: WeightsSource) -> None:
    """Load a source's weights into a model of the same architecture; a run with an adapter is merged first."""
    if source.run:
        load_weights_strict(model, load_model_from_run(source.run, source.weights).state_dict(), source.path)
    elif source.weights.is_dir():
        load_weights_strict(model, read_state_dict(source.weights), source.path)
    else:
        load_weights_strict(model, read_model_tensors(source.weights), source.path)


def load_base(model: nn.Module, init_from: str, run: Path) -> None:
    """Load the weights that a run started from. Raises UserError if they have changed since, or are gone."""
    load_source(model, resolve_base(init_from, run))


def resolve_base(init_from: str, run: Path) -> WeightsSource:
    """What a run started from. Raises UserError if it has changed since, or is gone."""
    if init_from != "last" and not find_folder(init_from).exists():
        raise UserError(f"{run} needs its base, {init_from}, which is not there: bring it back. {MOVED_BASE}")
    source = resolve_init_from(init_from, run)
    recorded = (read_run_info(run)["base"] or {}).get("sha256")
    if recorded not in (None, compute_checksum(source.weights)):
        raise UserError(
            f"{source.path} is not what {run} was started from (its sha256 was {recorded[:12]}…): restore it. {MOVED_BASE}"
        )
    return source


def needs_base(config: Config) -> bool:
    """True if a run reads the weights it started from again: below an adapter, or as a reference."""
    return bool(config.get("init_from")) and bool(config["adapter"] or needs_reference(config))


def check_base_place(config: Config, init_from: str | None) -> None:
    """Refuse a place of the base for a run that needs none. Raises UserError."""
    if init_from and not needs_base(config):
        raise UserError(f"init_from={init_from} has no effect: this run has all its weights. Leave it out.")


def build_initial_model(config: Config, data_properties: dict[str, Any], run: Path) -> nn.Module:
    """The model before training: initialised from the seed, or with the weights of `init_from`."""
    model = build_model(config["model"], data_properties, config["seed"])
    if config["init_from"]:
        load_base(model, config["init_from"], run)
    return model


def load_model_from_run(run: Path, weights: Path, init_from: str | None = None) -> nn.Module:
    """A run's model with these weights of it, its adapter merged; `init_from` is where the adapter's base is now."""
    config, properties = read_config(run), read_run_info(run)["data_properties"] or {}
    check_targets(config)
    adapter = build_adapter(config)
    if not adapter:
        return build_with_weights(config["model"], properties, read_model_tensors(weights, mmap=True), weights)
    return adapter.merge(load_adapted_model(run, weights, adapter, init_from))


def load_adapted_model(run: Path, weights: Path, adapter: Adapter, init_from: str | None = None) -> nn.Module:
    """The model of a run with its adapter on it; `init_from` is where the adapter's base is now."""
    config, properties = read_config(run), read_run_info(run)["data_properties"] or {}
    model = build_model(config["model"], properties, config["seed"])  # a frozen part may be the seed's
    if init_from or config["init_from"]:
        load_base(model, init_from or config["init_from"], run)
    adapter.apply(model)
    load_trained_weights(model, weights, adapter)
    return model


class SkipInit(TorchFunctionMode):
    """While it is entered, no weights are drawn: those of a model that is built stay as the memory is."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__module__", "") == "torch.nn.init" or func.__name__ in ("normal_", "uniform_"):
            return args[0] if args else None
        return func(*args, **(kwargs or {}))


def build_with_weights(
    node: Config, data_properties: dict[str, Any], tensors: dict[str, Tensor], path: Path
) -> nn.Module:
    """A model whose weights are these tensors themselves, which may lie in a file that is mapped into memory.

    Those of a language model of seqlab are not drawn before; another one may keep something that it draws.
    """
    target = str(node["_target_"])
    is_own = target.startswith("seqlab.models.") and hasattr(resolve_target(target, "model"), "init_cache")
    with SkipInit() if is_own else nullcontext():
        model = build_model(node, data_properties)
    check_shapes(model.state_dict(), tensors, path)
    tied = group_names(model)
    model.load_state_dict(tensors, assign=True)
    for names in tied:
        first = model.get_parameter(names[0])
        for module, _, name in (other.rpartition(".") for other in names[1:]):
            setattr(model.get_submodule(module), name, first)
    return model


def group_names(model: nn.Module) -> list[list[str]]:
    """The names of parameters that are one, as those of a tied head."""
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    return [group for group in names.values() if len(group) > 1]


def load_trained_weights(model: nn.Module, weights: Path, adapter: Adapter | None) -> None:
    """Load what a run trained into its model as built: all weights, or its adapter's (from a folder or a checkpoint)."""
    if adapter and weights.is_dir():
        adapter.load(model, weights)
        return
    tensors = read_model_tensors(weights)
    frozen = model.state_dict() if adapter and tensors.keys() == adapter.trainable_state_dict(model).keys() else {}
    load_weights_strict(model, frozen | tensors, weights)


def check_resumable(config: Config, data_properties: dict[str, Any], checkpoint: Path) -> None:
    """Refuse a checkpoint whose weights are not those of the config's model. Raises UserError; reads no tensor."""
    properties = data_properties | {name: config["data"][name] for name in data_properties if name in config["data"]}
    with torch.device("meta"):
        model = build_model(config["model"], properties)
        adapter = build_adapter(config)
        if adapter:
            adapter.apply(model)
    expected = adapter.trainable_state_dict(model) if adapter else model.state_dict()
    check_shapes(expected, read_model_tensors(checkpoint, mmap=True), checkpoint)


def read_model_tensors(checkpoint: Path, mmap: bool = False) -> dict[str, Tensor]:
    """The model's tensors of a checkpoint under the model's own names."""
    state = checkpoints.load_checkpoint(checkpoint, mmap).get("state_dict")
    if not isinstance(state, dict):
        raise UserError(f"{checkpoint} has no state_dict: it is not a checkpoint of a model; use another one.")
    return {name.removeprefix("model."): tensor for name, tensor in state.items() if name.startswith("model.")}


def load_weights_strict(model: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """load_state_dict whose error names the first tensor that does not fit. Raises UserError."""
    check_shapes(model.state_dict(), tensors, path)
    model.load_state_dict(tensors)


def check_shapes(expected: dict[str, Tensor], found: dict[str, Tensor], path: Path) -> None:
    """Raises UserError for the first tensor that one side lacks or has in another shape."""
    remedy = "Leave model= and its sizes out, and they follow the weights."
    if path.is_dir() and is_hf_folder(path):
        remedy = f"If no size of the model was typed, its config.json is of another model: {REMEDY}."
    for name in [*expected, *found]:
        ours, theirs = expected.get(name), found.get(name)
        if ours is None or theirs is None or ours.shape != theirs.shape:
            shapes = [str(tuple(tensor.shape)) if tensor is not None else "missing" for tensor in (theirs, ours)]
            raise UserError(
                f"The weights of {path} are of another architecture: {name} is {shapes[0]} there and {shapes[1]} in this "
                f"model. {remedy}"
            )


def build_reference(
    model: nn.Module, adapter: Adapter | None, compared: nn.Module | None = None
) -> Callable[[], AbstractContextManager[nn.Module]]:
    """The model as it is now, for a task that compares with it: `with reference() as model` gives it in eval mode.

    It is a frozen copy, or with an adapter the same weights with the adapter disabled. It follows the model that is
    `compared` with it (by default this one) to its device.
    """
    frozen = model if adapter else copy.deepcopy(model).requires_grad_(False)

    @contextmanager
    def reference() -> Iterator[nn.Module]:
        frozen.to(next((compared or model).parameters()).device)
        was_training = frozen.training
        with torch.no_grad(), adapter.disabled(model) if adapter else nullcontext():
            try:
                yield frozen.eval()
            finally:
                frozen.train(was_training)

    return reference
