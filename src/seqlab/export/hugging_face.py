"""A run as a folder that `AutoModelForCausalLM.from_pretrained` and `AutoTokenizer.from_pretrained` open."""

from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from seqlab.config.targets import get_class
from seqlab.errors import UserError
from seqlab.files import write_json, write_output
from seqlab.prompts.choose import load_prompt_style
from seqlab.runs.folder import read_config
from seqlab.tokenizers.base import load_tokenizer
from seqlab.tokenizers.hf import TEMPLATE
from seqlab.weights.hf_folder import find_writing_family
from seqlab.weights.restore import check_base_place, load_model_from_run
from seqlab.weights.sources import resolve_init_from, weights_path

Config = dict[str, Any]


def export_to_hf(run: Path, checkpoint: str, out: Path, init_from: str | None = None) -> list[str]:
    """Write config.json, model.safetensors and the tokenizer's files into a new folder; return the names of its files.

    An adapter is merged, and the style of a run's prompts becomes a chat template. Raises UserError for a folder that is there
    already, and for a model that no family can say.
    """
    check_new_folder(out)
    config = read_config(run)
    check_base_place(config, init_from)
    source = resolve_init_from(str(run), run)
    family, hf_config = find_writing_family(source.model or {}, source.family)
    weights = weights_path(run, checkpoint)
    model = load_model_from_run(run, weights, init_from)
    if config["tokenizer"]:
        hf_config["eos_token_id"] = load_tokenizer(get_class(config, "tokenizer"), run / "tokenizer").eos_id
    with write_output(out) as partial:
        partial.mkdir()
        write_json(partial / "config.json", hf_config | {"dtype": str(next(model.parameters()).dtype).split(".")[1]})
        save_file(family.to_hf(model.state_dict()), partial / "model.safetensors", {"format": "pt"})
        export_tokenizer(run, config, partial)
        if out.is_dir():
            out.rmdir()  # an empty one
    return sorted(file.name for file in out.iterdir())


def export_tokenizer(run: Path, config: Config, folder: Path) -> None:
    """Write the tokenizer's files, if it has any there, and the style of the run's prompts as a chat template."""
    tokenizer: Any = load_tokenizer(get_class(config, "tokenizer"), run / "tokenizer") if config["tokenizer"] else None
    if hasattr(tokenizer, "save_to_hf"):
        tokenizer.save_to_hf(folder)
        if style := load_prompt_style(run):
            (folder / TEMPLATE).write_text(style.to_chat_template(tokenizer), encoding="utf-8")


def check_new_folder(out: Path) -> None:
    """Refuse to write over a file, or a folder that is not empty. Raises UserError."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"out={out} is there already: name a folder that is not.")
