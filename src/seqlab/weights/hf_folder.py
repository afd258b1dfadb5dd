"""Folders in Hugging Face format: which family they belong to, and what they hold."""

from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import torch
from torch import Tensor

from seqlab.config.signatures import check_arguments, parameters
from seqlab.config.targets import resolve_target
from seqlab.errors import UserError
from seqlab.files import read_json, read_safetensors
from seqlab.weights import hugging_face
from seqlab.weights.peft_folder import find_base_folder, is_peft_folder, merge_peft_adapter

FAMILY_PARTS = ("MODEL", "TRANSPOSED", "config_to_node", "node_to_config", "to_hf", "name_layer")
REMEDY = "copy or download the folder again"


def is_hf_folder(folder: Path) -> bool:
    """True if the folder holds a model in Hugging Face format, or an adapter of PEFT that says what it is of."""
    return (folder / "config.json").is_file() or is_peft_folder(folder)


def read_hf_config(folder: Path) -> dict[str, Any]:
    """config.json as plain data, of an adapter that of its base. Raises UserError if it is damaged."""
    return read_json(find_base_folder(folder) / "config.json")


def list_families() -> dict[str, Any]:
    """The families by the `model_type` of their config.json. Raises UserError for one that lacks a part."""
    names = sorted(module.name for module in iter_modules(hugging_face.__path__))
    families = {name: import_module(f"{hugging_face.__name__}.{name}") for name in names}
    for family in families.values():
        reader = "read_tensors" if hasattr(family, "read_tensors") else "from_hf"
        if missing := [part for part in (*FAMILY_PARTS, reader) if not hasattr(family, part)]:
            raise UserError(f"{family.__file__} has no {missing[0]}, which a family needs: add it.")
    return families


def find_family(folder: Path) -> Any:
    """The module of the folder's family; one without a module of its own is read by transformers."""
    families = list_families()
    return families.get(str(read_hf_config(folder).get("model_type")), families["other"])


def family_name(folder: Path) -> str:
    """The name of the folder's family, that of its module."""
    return find_family(folder).__name__.rpartition(".")[2]


def find_writing_family(node: dict[str, Any], preferred: str | None = None) -> tuple[Any, dict[str, Any]]:
    """The family that a model node can be written as, with its config.json. Raises UserError if there is none.

    The one `preferred` is asked first, then the one that is called as the model's module is, then the others by name.
    """
    reasons, node = [], fill_defaults(node)
    first = (preferred, str(node.get("_target_")).rpartition(".")[0].rpartition(".")[2])
    families = list_families()
    for name in dict.fromkeys([*(name for name in first if name in families), *families]):
        family = families[name]
        if node.get("_target_") == family.MODEL:
            try:
                return family, family.node_to_config(node)
            except UserError as error:
                reasons.append(str(error))
    raise UserError(
        " ".join(dict.fromkeys(reasons))
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
        config = read_hf_config(folder)
        if config.get("quantization_config"):
            raise UserError(
                f"{folder}/config.json is of quantised weights (quantization_config): use the folder of the whole ones."
            )
        node = find_family(folder).config_to_node(config, f"{folder}/config.json")
        check_arguments(node, resolve_target(node["_target_"], "model"), f"{folder}/config.json: model")
        return node
    except (KeyError, TypeError, AttributeError, ArithmeticError) as error:  # a value of a kind that it should not be
        raise UserError(f"{folder}/config.json is damaged ({type(error).__name__}: {error}): restore it.") from error


def find_tokenizer_folder(folder: Path) -> Path:
    """Where the tokenizer's files are: with an adapter, or with its base."""
    return folder if (folder / "tokenizer.json").is_file() else find_base_folder(folder)


def read_tokenizer_node(folder: Path) -> dict[str, Any] | None:
    """The tokenizer node for the tokenizer files of the folder; None if it has none."""
    family, folder = find_family(folder), find_tokenizer_folder(folder)
    own = getattr(family, "TOKENIZER", None)
    if own and all((folder / name).is_file() for name in family.TOKENIZER_FILES):
        return dict(own)
    has_file = (folder / "tokenizer.json").is_file()
    return {"_target_": "seqlab.tokenizers.hf.HFTokenizer", "path": str(folder)} if has_file else None


def read_state_dict(folder: Path) -> dict[str, Tensor]:
    """The folder's weights under the names of seqlab's model. Raises UserError if some or all are not there."""
    family, base = find_family(folder), find_base_folder(folder)
    files = list_weights(base)
    if not files:
        raise UserError(
            f"{base} has no .safetensors file: save the model with save_pretrained(…) of a current transformers."
        )
    if base != folder:
        ours = read_adapted_tensors(family, folder, base, files)
    elif hasattr(family, "read_tensors"):
        ours = family.read_tensors(folder)
    else:
        ours = family.from_hf(read_named_tensors(folder, files))
    for name, tensor in ours.items():
        if not tensor.is_floating_point() or tensor.element_size() < 2:
            if not hasattr(family, "read_tensors"):  # transformers has buffers that are no weights
                raise UserError(
                    f"{name} of {folder} is of type {str(tensor.dtype)[6:]}: use the folder of whole weights."
                )
        elif tensor.sum().isnan() and tensor.isnan().any():  # a sum is found in a quarter of the time
            raise UserError(f"{name} of {folder} has NaN: {REMEDY}.")
    pair = [ours[name] for name in ("head.weight", "token_embedding.weight") if name in ours]
    if read_model_node(folder).get("tie_embeddings") and len(pair) == 2 and not torch.equal(*pair):
        raise UserError(
            f"{folder} has an lm_head.weight of its own, and its config.json ties it to the token embedding: write "
            "tie_word_embeddings=false there, if the weights are right."
        )
    return ours


def read_adapted_tensors(family: Any, folder: Path, base: Path, files: list[Path]) -> dict[str, Tensor]:
    """The base's weights with an adapter of PEFT in them, under the names of seqlab's model. Raises UserError."""
    if not hasattr(family, "from_hf"):
        raise UserError(
            f"{folder} is an adapter of a model that transformers alone reads: merge it with PEFT (merge_and_unload), and save "
            "the model."
        )
    tensors = read_named_tensors(base, files)
    merged = merge_peft_adapter(tensors, folder, family.TRANSPOSED)
    changed = family.from_hf({name: tensor for name, tensor in merged.items() if tensor is not tensors[name]})
    if read_model_node(base).get("tie_embeddings") and "token_embedding.weight" in changed:
        raise UserError(
            f"{folder} adapts the token embedding, which {base} ties to its head: seqlab does not read such an adapter."
        )
    return family.from_hf(merged)


def read_named_tensors(folder: Path, files: list[Path]) -> dict[str, Tensor]:
    """The tensors of one of the files, or of all shards, under the folder's own names. Raises UserError."""
    whole = folder / "model.safetensors"  # read before shards, as transformers does
    index = folder / "model.safetensors.index.json"  # of weights in several files
    listed: set[str] = set()
    if whole not in files and index.is_file():
        weight_map = read_json(index).get("weight_map")
        if not isinstance(weight_map, dict):
            raise UserError(f"{index} is damaged (it has no weight_map): {REMEDY}.")
        listed = set(map(str, weight_map.values()))
    if missing := sorted(listed - {file.name for file in files}):
        raise UserError(f"{folder} lacks {', '.join(missing)} of {index.name}: {REMEDY}.")
    chosen = [file for file in files if file.name in listed] if listed else [whole] if whole in files else files
    tensors: dict[str, Tensor] = {}
    for file in chosen:
        tensors |= read_safetensors(file)
    if read_hf_config(folder).get("tie_word_embeddings") is False and "lm_head.weight" not in tensors:
        raise UserError(
            f"{folder} has no lm_head.weight, and its config.json says that it is not tied to the token embedding: {REMEDY}."
        )
    return tensors


def list_weights(folder: Path) -> list[Path]:
    """The folder's safetensors files, sorted. Raises UserError for a folder, and for a link to nothing."""
    files = sorted(folder.glob("*.safetensors"))
    for file in files:
        if not file.is_file():
            raise UserError(
                f"{file} is {'a folder' if file.is_dir() else 'a link to a file that is not there'}: {REMEDY}."
            )
    return files
