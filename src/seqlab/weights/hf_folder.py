"""Folders in Hugging Face format: which family they belong to, and what they hold."""

from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

from torch import Tensor

from seqlab.config.signatures import check_arguments, parameters
from seqlab.config.targets import resolve_target
from seqlab.errors import UserError
from seqlab.files import read_json, read_safetensors
from seqlab.weights import hugging_face


def is_hf_folder(folder: Path) -> bool:
    """True if the folder holds a model in Hugging Face format."""
    return (folder / "config.json").is_file()


def read_hf_config(folder: Path) -> dict[str, Any]:
    """config.json as plain data. Raises UserError if it is damaged."""
    return read_json(folder / "config.json")


def list_families() -> dict[str, Any]:
    """The families by the `model_type` of their config.json."""
    names = sorted(module.name for module in iter_modules(hugging_face.__path__))
    return {name: import_module(f"{hugging_face.__name__}.{name}") for name in names}


def find_family(folder: Path) -> Any:
    """The module of the folder's family; one without a module of its own is read by transformers."""
    families = list_families()
    return families.get(str(read_hf_config(folder).get("model_type")), families["other"])


def find_writing_family(node: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The family that a model node can be written as, with its config.json. Raises UserError if there is none."""
    reasons, node = [], fill_defaults(node)
    for family in list_families().values():
        if node.get("_target_") == family.MODEL:
            try:
                return family, family.node_to_config(node)
            except UserError as error:
                reasons.append(str(error))
    raise UserError(
        " ".join(reasons)
        or f"{str(node.get('_target_')).rsplit('.', 1)[-1]} is not written in Hugging Face format: only GPT, Llama and models of "
        "transformers are."
    )


def fill_defaults(node: dict[str, Any]) -> dict[str, Any]:
    """A model node with the defaults of the keywords that it leaves out."""
    known = parameters(resolve_target(node["_target_"], "model")) if node else {}
    return {name: p.default for name, p in known.items() if p.default is not p.empty} | node


def read_model_node(folder: Path) -> dict[str, Any]:
    """The model node that the folder describes."""
    try:
        node = find_family(folder).config_to_node(read_hf_config(folder), f"{folder}/config.json")
        check_arguments(node, resolve_target(node["_target_"], "model"), f"{folder}/config.json: model")
        return node
    except (KeyError, TypeError, AttributeError, ArithmeticError) as error:  # a value of a kind that it should not be
        raise UserError(f"{folder}/config.json is damaged ({type(error).__name__}: {error}): restore it.") from error


def read_tokenizer_node(folder: Path) -> dict[str, Any] | None:
    """The tokenizer node for the tokenizer files of the folder; None if it has none."""
    family = find_family(folder)
    own = getattr(family, "TOKENIZER", None)
    if own and all((folder / name).is_file() for name in family.TOKENIZER_FILES):
        return dict(own)
    has_file = (folder / "tokenizer.json").is_file()
    return {"_target_": "seqlab.tokenizers.hf.HFTokenizer", "path": str(folder)} if has_file else None


def read_state_dict(folder: Path) -> dict[str, Tensor]:
    """The folder's weights under the names of seqlab's model. Raises UserError if some or all are not there."""
    family = find_family(folder)
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise UserError(
            f"{folder} has no .safetensors file: save the model with save_pretrained(…) of a current transformers."
        )
    index = folder / "model.safetensors.index.json"  # of weights in several files
    listed = set(read_json(index).get("weight_map", {}).values()) if index.is_file() else set()
    if missing := sorted(listed - {file.name for file in files}):
        raise UserError(f"{folder} lacks {', '.join(missing)} of {index.name}: copy or download the folder again.")
    whole = folder / "model.safetensors"  # others beside it are in formats of their own
    chosen = [file for file in files if file.name in listed] if listed else [whole] if whole in files else files
    if hasattr(family, "read_tensors"):
        return family.read_tensors(folder)
    tensors: dict[str, Tensor] = {}
    for file in chosen:
        tensors |= read_safetensors(file)
    if read_hf_config(folder).get("tie_word_embeddings") is False and "lm_head.weight" not in tensors:
        raise UserError(
            f"{folder} has no lm_head.weight, and its config.json says that it is not tied to the token embedding: copy or "
            "download the folder again."
        )
    return family.from_hf(tensors)
