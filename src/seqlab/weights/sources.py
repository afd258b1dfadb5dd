"""Where weights come from: what `init_from` names, and the checkpoints of runs."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seqlab.config.signatures import parameters
from seqlab.config.targets import check_targets, get_class
from seqlab.errors import UserError
from seqlab.files import compute_sha256
from seqlab.runs import checkpoints
from seqlab.runs.folder import find_run, read_config
from seqlab.runs.run_info import read_run_info
from seqlab.weights.hf_folder import (
    family_name,
    find_tokenizer_folder,
    is_hf_folder,
    list_weights,
    read_model_node,
    read_tokenizer_node,
)
from seqlab.weights.hub import find_folder
from seqlab.weights.peft_folder import find_base_folder

Config = dict[str, Any]


@dataclass
class WeightsSource:
    """Weights to start from, and the model and tokenizer that belong to them."""

    path: Path  # what was named
    weights: Path  # the file or folder that holds the weights
    run: Path | None = None  # the run folder
    model: Config | None = None  # a complete node; None: whatever the config says
    tokenizer: Config | None = None
    tokenizer_folder: Path | None = None
    family: str | None = None  # of Hugging Face folders, if the weights come from one
    choices: Config = field(default_factory=dict)


def resolve_init_from(init_from: str, runs_folder: Path) -> WeightsSource:
    """What `init_from` names: a run (a folder, a name, a sweep or last), a checkpoint, or a folder in Hugging Face format,
    which may lie on the hub.

    Raises UserError for anything else.
    """
    path = find_folder(init_from).resolve()
    is_run = init_from == "last" or (path / "config.yaml").is_file()
    if not is_run and is_hf_folder(path):
        # in the hub's cache, models--<owner>--<model>/snapshots/<commit>
        name = path.parent.parent.name.split("--")[-1] if path.parent.name == "snapshots" else path.name
        source = WeightsSource(path, path, model=read_model_node(path), choices={"model": name})
        source.family, source.tokenizer = family_name(path), read_tokenizer_node(path)
        source.tokenizer_folder = find_tokenizer_folder(path) if source.tokenizer else None
        return source
    if path.is_file():
        run = path.parent.parent
        return source_from_run(path, run, path) if (run / "config.yaml").is_file() else WeightsSource(path, path)
    try:
        run = find_run(init_from, runs_folder)
    except UserError as error:
        if is_run:
            raise
        raise UserError(
            f"init_from={init_from} is not a run (its folder with config.yaml, or its name), a checkpoint or a folder in "
            "Hugging Face format (config.json): give one of these, last, or hf:<owner>/<model>."
        ) from error
    return source_from_run(run, run, weights_path(run, "best"))


def source_from_run(path: Path, run: Path, weights: Path) -> WeightsSource:
    """Weights, model and tokenizer of a run folder."""
    config, info = read_config(run), read_run_info(run)
    check_targets(config)
    known = parameters(get_class(config, "model"))
    properties = {key: value for key, value in (info["data_properties"] or {}).items() if key in known}
    model = properties | {key: value for key, value in config["model"].items() if value is not None}
    tokenizer_folder = run / "tokenizer" if (run / "tokenizer").is_dir() else None
    family = (info["base"] or {}).get("family")
    return WeightsSource(
        path, weights, run, model, config["tokenizer"] or None, tokenizer_folder, family, info["choices"]
    )


def best_weights_path(run: Path) -> Path | None:
    """The file (or adapter folder) of a run's best weights, if it has kept them."""
    paths = [path for path in (run / "adapter", run / "checkpoints" / checkpoints.BEST) if path.exists()]
    return paths[0] if paths else None


def weights_path(run: Path, checkpoint: str) -> Path:
    """The weights that `checkpoint` (best or last) names; best means last if there is no best. Raises UserError."""
    best, last = best_weights_path(run), checkpoints.latest_checkpoint(run)
    if checkpoint == "best" and best:
        return best
    if last:
        return last
    remedy = "use checkpoint=best" if best else "use another run"
    raise UserError(f"{run} has kept no weights for checkpoint={checkpoint}: {remedy}.")


def compute_checksum(weights: Path) -> str:
    """sha256 of a file of weights; of a folder, of its safetensors files in the order of their names, then its base's."""
    if weights.is_file():
        return compute_sha256(weights)
    folders = dict.fromkeys((weights, find_base_folder(weights)))
    return " ".join(compute_sha256(file) for folder in folders for file in list_weights(folder))


def provenance(source: WeightsSource) -> dict[str, str]:
    """What run.json says of a source: path and sha256, and the family of the Hugging Face folder that it was once."""
    family = {"family": source.family} if source.family else {}
    return {"path": str(source.path), "sha256": compute_checksum(source.weights)} | family
