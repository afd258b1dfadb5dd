"""Weights to begin or to go on with: a run's own, and those that `init_from` names."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from seqlab import build
from seqlab.adapters.lora import adapter_tensors, merge
from seqlab.config import targets
from seqlab.errors import UserError
from seqlab.files import compute_sha256
from seqlab.runs import checkpoints
from seqlab.runs import folder as runs
from seqlab.weights.hugging_face import gpt2

Config = dict[str, Any]


@dataclass
class WeightsSource:
    """What `init_from` names, and what it brings along."""

    path: Path  # what was named
    weights: Path  # the file or folder that holds the weights
    run: Path | None = None  # the run folder
    model: Config | None = None  # a node with all data_properties; None: whatever the config says
    tokenizer: Config | None = None
    tokenizer_folder: Path | None = None
    choices: Config = field(default_factory=dict)


def resolve_init_from(init_from: str, runs_folder: Path) -> WeightsSource:
    """Look at a run folder (or last), a checkpoint, or a folder in Hugging Face format. Raises Mistake for another thing."""
    path = Path(init_from).expanduser()
    if init_from == "last" or (path / "config.yaml").is_file():
        run = runs.find_run(init_from, runs_folder)
        return source_from_run(run, run, weights_path(run, "best"))
    path = path.resolve()
    if gpt2.is_hf_folder(path):
        base = WeightsSource(path, path, model=gpt2.config_to_node(path), choices={"model": path.name})
        if (path / "vocab.json").is_file() and (path / "merges.txt").is_file():
            base.tokenizer, base.tokenizer_folder = {"_target_": "seqlab.tokenizers.gpt2.GPT2Tokenizer"}, path
        return base
    if path.is_file():
        run = path.parent.parent
        return source_from_run(path, run, path) if (run / "config.yaml").is_file() else WeightsSource(path, path)
    raise UserError(
        f"init_from={init_from} is no run folder (config.yaml), no checkpoint and no folder in Hugging Face format "
        "(config.json): give one of these, or last."
    )


def source_from_run(path: Path, run: Path, weights: Path) -> WeightsSource:
    """A base that is a run of ours."""
    config, record = runs.read_config(run), runs.read_run_info(run)
    targets.check_targets(config)
    names = targets.parameters(targets.get_class(config, "model"))
    given = {key: value for key, value in config["model"].items() if value is not None}
    data_properties = {key: value for key, value in (record["data_properties"] or {}).items() if key in names}
    kept = run / "tokenizer"
    return WeightsSource(
        path,
        weights,
        run,
        data_properties | given,
        config["tokenizer"] or None,
        kept if kept.is_dir() else None,
        record["choices"],
    )


def best_weights_path(run: Path) -> Path | None:
    """The file (or adapter folder) of a run's best weights, if it has kept them."""
    kept = [path for path in (run / "adapter", run / "checkpoints" / "best.ckpt") if path.exists()]
    return kept[0] if kept else None


def weights_path(run: Path, checkpoint: str) -> Path:
    """The weights that `checkpoint` names; best means last where there is no best. Raises Mistake where there are none."""
    best, last = best_weights_path(run), checkpoints.latest_checkpoint(run)
    if checkpoint == "best" and best:
        return best
    if last:
        return last
    remedy = "take checkpoint=best" if best else "take another run"
    raise UserError(f"{run} has kept no weights for checkpoint={checkpoint}: {remedy}.")


def compute_checksum(weights: Path) -> str:
    """sha256 of a file of weights; of a folder, of its safetensors files in the order of their names."""
    if weights.is_file():
        return compute_sha256(weights)
    return " ".join(compute_sha256(file) for file in sorted(weights.glob("*.safetensors")))


def provenance(base: WeightsSource) -> dict[str, str]:
    """What run.json says of a base."""
    return {"path": str(base.path), "sha256": compute_checksum(base.weights)}


def load_source(model: nn.Module, base: WeightsSource) -> None:
    """Put the base's weights into a model of the same architecture; a base that is an adapter run is merged first."""
    if base.run:
        load_weights_strict(model, load_model_from_run(base.run, base.weights).state_dict(), base.path)
    elif base.weights.is_dir():
        load_weights_strict(model, gpt2.read_state_dict(base.weights), base.path)
    else:
        load_weights_strict(model, read_model_tensors(base.weights), base.path)


def load_model_from_run(run: Path, weights: Path) -> nn.Module:
    """A run's model with these weights of it, an adapter merged."""
    config, record = runs.read_config(run), runs.read_run_info(run)
    targets.check_targets(config)
    model = build.build_model(config["model"], record["data_properties"] or {})
    if config["adapter"]:
        if config["init_from"]:
            load_source(model, resolve_init_from(config["init_from"], run))
        build.build_partial(config["adapter"])(model)
    load_trained_weights(model, weights)
    return merge(model)


def load_trained_weights(model: nn.Module, weights: Path) -> None:
    """Put what a run trained into its model as built: all weights, or an adapter's (from its folder or a checkpoint)."""
    tensors = adapter_tensors(weights) if weights.is_dir() else read_model_tensors(weights)
    adapted = any(name.endswith("lora_A.weight") for name in tensors)
    load_weights_strict(model, (model.state_dict() if adapted else {}) | tensors, weights)


def check_resumable(config: Config, data_properties: dict[str, Any], checkpoint: Path) -> None:
    """Refuse a checkpoint whose weights are not those of the model that a config says. Raises Mistake; reads no tensor."""
    data_properties = data_properties | {
        name: config["data"][name] for name in data_properties if name in config["data"]
    }
    with torch.device("meta"):
        model = build.build_model(config["model"], data_properties)
        if config["adapter"]:
            build.build_partial(config["adapter"])(model)
    own = model.state_dict()
    if config["adapter"]:
        own = {name: tensor for name, tensor in own.items() if "lora_" in name}
    check_shapes(own, read_model_tensors(checkpoint, mmap=True), checkpoint)


def read_model_tensors(checkpoint: Path, mmap: bool = False) -> dict[str, Tensor]:
    """The model's tensors of a checkpoint under the model's own names."""
    state = checkpoints.load_checkpoint(checkpoint, mmap).get("state_dict")
    if not isinstance(state, dict):
        raise UserError(f"{checkpoint} has no state_dict: it is no checkpoint of a model; take another one.")
    return {name.removeprefix("model."): tensor for name, tensor in state.items() if name.startswith("model.")}


def load_weights_strict(model: nn.Module, weights: dict[str, Tensor], path: Path) -> None:
    """load_state_dict whose refusal names the first tensor that does not fit. Raises Mistake."""
    check_shapes(model.state_dict(), weights, path)
    model.load_state_dict(weights)


def check_shapes(own: dict[str, Tensor], weights: dict[str, Tensor], path: Path) -> None:
    """Raises Mistake for the first tensor that one side lacks or has in another shape."""
    for name in [*own, *weights]:
        here, there = own.get(name), weights.get(name)
        if here is None or there is None or here.shape != there.shape:
            shapes = [str(tuple(tensor.shape)) if tensor is not None else "missing" for tensor in (there, here)]
            raise UserError(
                f"The weights of {path} are of another architecture: {name} is {shapes[0]} there and {shapes[1]} in this "
                "model. Leave model= and its sizes out, and they follow the weights."
            )
