"""The verb export."""

from seqlab.adapters.lora import CONFIG_FILE
from seqlab.cli.compose import compose_one
from seqlab.errors import UserError
from seqlab.export.hugging_face import export_to_hf
from seqlab.export.peft import export_to_peft
from seqlab.files import expand_path, read_json
from seqlab.prompts.choose import load_prompt_style
from seqlab.runs.folder import find_run, relative_to_cwd
from seqlab.streams import print_wrapped
from seqlab.weights.hf_folder import is_hf_folder
from seqlab.weights.peft_folder import is_peft_folder

FORMATS = {"hf": export_to_hf, "peft": export_to_peft}


def main(args: list[str]) -> int:
    """Write a run in another format."""
    config = compose_one("export", args)
    if not config:
        return 0
    if config["format"] not in FORMATS:
        raise UserError(f"format={config['format']} is unknown: use {' or '.join(FORMATS)}.")
    if config["checkpoint"] not in ("best", "last"):
        raise UserError(f"checkpoint={config['checkpoint']} must be best or last.")
    if is_peft_folder(given := expand_path(str(config["run"]))):
        raise UserError(f"run={given} is an adapter of PEFT: merge it with PEFT (merge_and_unload), or name a run.")
    if is_hf_folder(given) and not (given / "config.yaml").is_file():
        raise UserError(f"run={given} is in Hugging Face format already: copy the folder, or name a run.")
    run, out = find_run(str(config["run"]), expand_path(config["paths"]["runs"])), expand_path(str(config["out"]))
    names = FORMATS[config["format"]](run, config["checkpoint"], out, config["init_from"])
    print_wrapped(f"run         {relative_to_cwd(run)}")
    print_wrapped(f"written     {out}: {', '.join(names)}")
    if config["format"] == "peft":
        key = "base_model_name_or_path"
        remedy = f"a run: export it too, with format=hf, and write that folder as {key} in {CONFIG_FILE}"
        print_wrapped(f"base        {read_json(out / CONFIG_FILE)[key] or remedy}")
    elif "tokenizer_config.json" not in names:
        print_wrapped(
            "tokenizer   none, since this one is not written: the folder has the weights alone, and seqlab generate needs the "
            "run itself"
        )
    elif style := load_prompt_style(run):
        print_wrapped(
            f"prompts     the style {style.name}, as a chat template; an input follows its instruction as plain text"
        )
    return 0
