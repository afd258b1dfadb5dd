"""Check a composed config and write the run folder: config.yaml and the first run.json."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seqlab.config.signatures import check_value
from seqlab.config.targets import check_targets, get_class
from seqlab.config.validate import check_required_groups, has_validation, validate_config
from seqlab.device import model_width, resolve_device
from seqlab.errors import UserError
from seqlab.files import write_json
from seqlab.prompts.choose import load_prompt_style
from seqlab.runs.folder import create_run_folder, find_named_runs, write_config
from seqlab.runs.run_info import FILE_NAME, new_run_info
from seqlab.streams import print_wrapped
from seqlab.tokenizers.base import load_tokenizer, save_tokenizer
from seqlab.weights.sources import WeightsSource, provenance, resolve_init_from

OVERRIDABLE = ("dropout",)  # what may differ from a source's model


@dataclass
class ComposedRun:
    """What composition hands out: plain data with everything resolved, the option of each group, and what was typed.

    A job of a sweep that could not be composed has only its overrides, and the `error`.
    """

    config: dict[str, Any] = field(default_factory=dict)
    choices: dict[str, str] = field(default_factory=dict)
    overrides: list[str] = field(default_factory=list)
    command: str = ""
    error: str = ""
    remote: bool = False  # it will run on machines whose devices are not known here


def create_run(job: ComposedRun) -> Path:
    """Check a composed config and make its run folder `<paths.runs>/<date>/<time>-<name>`. Raises UserError."""
    source, device_message = check_run(job)
    if device_message:
        print_wrapped(device_message)
    names = [job.choices.get(group, group) for group in ("model", "data")]
    name, runs = job.config.get("name"), Path(job.config["paths"]["runs"])
    if name and find_named_runs(name, runs):
        print_wrapped(f"name        {name} is an earlier run's too: from now on run={name} means this one")
    folder = create_run_folder(runs, name or "-".join(names))
    write_run_folder(job, folder, source)
    return folder


def check_run(job: ComposedRun) -> tuple[WeightsSource | None, str | None]:
    """Complete a composed config in place, and refuse what cannot work. Raises UserError.

    Returns the source of `init_from`, and the line that says what `device=auto` chose.
    """
    config = job.config
    check_required_groups(config)
    forget_download(config["data"], job.overrides)
    check_targets(config)
    check_value("init_from", config["init_from"], str | None)
    source = resolve_init_from(config["init_from"], Path(config["paths"]["runs"])) if config["init_from"] else None
    if source:
        inherit_from_source(source, job)
    validate_config(config, job.choices)
    return source, resolve_auto(config, job.remote)


def forget_download(data: dict[str, Any], overrides: list[str]) -> None:
    """Forget the address and checksum of the yaml's own file, in place, if another path was typed."""
    typed = {override.lstrip("+").split("=")[0] for override in overrides}
    if "data.path" in typed:
        data |= {key: None for key in ("url", "sha256") if key in data and f"data.{key}" not in typed}


def inherit_from_source(source: WeightsSource, job: ComposedRun) -> None:
    """Take model, tokenizer and context from the source; what was typed besides must agree with it. Raises UserError."""
    config, choices = job.config, job.choices
    config["init_from"] = str(source.path)
    if source.run and config["tokenizer"] and not source.tokenizer:
        raise UserError(
            f"init_from={source.path} is a forecaster ({source.choices.get('model')} on {source.choices.get('data')}), and "
            f"data={choices['data']} are texts: give a language model."
        )
    if source.model:
        inherit_model(source, source.model, job)
    if source.tokenizer and config["tokenizer"]:
        base_name = source.choices.get("tokenizer", f"the one in {source.tokenizer_folder}")
        if config["tokenizer"]["_target_"] != source.tokenizer["_target_"]:
            raise UserError(
                f"tokenizer={choices.get('tokenizer')} is not the base's, {base_name}: the "
                "weights know no other tokens; leave tokenizer= out, and it follows the base."
            )
        for key, value in config["tokenizer"].items():
            if is_typed(job, f"tokenizer.{key}") and value != source.tokenizer.get(key, value):
                raise UserError(
                    f"tokenizer.{key}={value} does not agree with the base, {source.path}, which has {source.tokenizer[key]}: "
                    "leave it out, and it follows the base."
                )
        config["tokenizer"] = source.tokenizer | {k: v for k, v in config["tokenizer"].items() if k == "folders"}
        choices["tokenizer"] = source.choices.get("tokenizer", choices.get("tokenizer", "base"))
    if source.run and "prompt_style" in config["data"] and (style := load_prompt_style(source.run)):
        inherit_prompt_style(source, {"prompt_style": style.name, "system_prompt": style.system_prompt or None}, job)


def is_typed(job: ComposedRun, key: str) -> bool:
    """True if a key was set on the command line."""
    return any(override.lstrip("+").startswith(f"{key}=") for override in job.overrides)


def inherit_prompt_style(source: WeightsSource, style: dict[str, Any], job: ComposedRun) -> None:
    """Render prompts as the source was trained on them. Raises UserError."""
    data = job.config["data"]
    for key, value in style.items():
        if is_typed(job, f"data.{key}") and data[key] != value:
            raise UserError(
                f"data.{key}={data[key]} is not that of the base, {source.path}, which was trained with {value or 'none'}: leave "
                "it out, and it follows the base."
            )
    data |= style


def inherit_model(source: WeightsSource, model: dict[str, Any], job: ComposedRun) -> None:
    """Take the source's model and context. Raises UserError."""
    config, choices = job.config, job.choices
    for key, value in config["model"].items():
        if key not in OVERRIDABLE and value is not None and value != model.get(key, value):
            raise UserError(
                f"model.{key}={value} does not agree with the base, {source.path}, which has {model[key]}: "
                "leave model= and its sizes out, and they follow the base."
            )
    config["model"] = model | {key: config["model"][key] for key in OVERRIDABLE if key in config["model"]}
    choices["model"] = source.choices.get("model", choices["model"])
    context_length = model.get("context_length")
    if context_length and config["data"].get("context_length", 0) > context_length:
        if is_typed(job, "data.context_length"):
            raise UserError(
                f"data.context_length={config['data']['context_length']} is longer than the base's context of "
                f"{context_length}: leave it out, and it follows the base."
            )
        config["data"]["context_length"] = context_length


def resolve_auto(config: dict[str, Any], remote: bool = False) -> str | None:
    """Replace every `auto`: the objective, the device, the precision. Returns the line that says which device.

    Raises UserError for an objective that is never measured, and a device that is not there.
    """
    if config["objective"]["metric"] == "auto":
        config["objective"]["metric"] = "val/loss" if has_validation(config) else "train/loss"
    if config["objective"]["metric"].startswith("val/") and not has_validation(config):
        raise UserError(
            f"objective.metric={config['objective']['metric']} is never measured without validation: set data.val_fraction and "
            "trainer.limit_val_batches above 0, or use objective.metric=train/loss."
        )
    width, safe = model_width(config["model"]), get_class(config, "task").safe_precisions
    return resolve_device(config["trainer"], safe, remote, width)


def write_run_folder(job: ComposedRun, folder: Path, source: WeightsSource | None) -> None:
    """Fill a run folder that was just made."""
    config = job.config
    if source and source.tokenizer_folder and config["tokenizer"] and not (folder / "tokenizer").exists():
        tokenizer = load_tokenizer(get_class(config, "tokenizer"), source.tokenizer_folder)
        save_tokenizer(tokenizer, folder / "tokenizer")
    write_config(folder, config)
    info = new_run_info(
        command=job.command,
        overrides=job.overrides,
        choices=job.choices,
        name=config.get("name"),
        seed=config["seed"],
        objective=config["objective"],
        base=provenance(source) if source else None,
    )
    write_json(folder / FILE_NAME, info)
