"""Checks a composed config and writes the run folder: config.yaml and the first run.json."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seqlab import device
from seqlab.config import targets, validate
from seqlab.config.limits import check_ranges
from seqlab.errors import UserError
from seqlab.files import write_json
from seqlab.runs import folder as runs
from seqlab.runs.run_info import new_run_info
from seqlab.weights import sources

OVERRIDABLE = ("dropout",)  # what may differ from a base's model


@dataclass
class ComposedRun:
    """What composition hands out: plain data with everything resolved, the choice of each group, and what was typed.

    A job of a sweep that could not be composed has only its words, and says why it was `error`.
    """

    config: dict[str, Any] = field(default_factory=dict)
    choices: dict[str, str] = field(default_factory=dict)
    overrides: list[str] = field(default_factory=list)
    command: str = ""
    error: str = ""
    remote: bool = False  # it will run on machines whose devices are not known here


def check_run(composed: ComposedRun) -> tuple[sources.WeightsSource | None, str | None]:
    """Complete a composed config in place, refusing whatever cannot work.

    Returns the base of `init_from`, and the line that says what `device=auto` took. Raises Mistake.
    """
    config, choices = composed.config, composed.choices
    validate.check_required_groups(config)
    targets.check_targets(config)
    check_ranges(config)
    base = (
        sources.resolve_init_from(config["init_from"], Path(config["paths"]["runs"])) if config["init_from"] else None
    )
    if base:
        inherit_from_source(base, composed)
    taken = resolve_auto(config, composed.remote)
    validate.validate_config(config, choices)
    return base, taken


def inherit_from_source(base: sources.WeightsSource, composed: ComposedRun) -> None:
    """Take model, tokenizer and context from the base; what was typed besides must agree with it."""
    config, choices = composed.config, composed.choices
    config["init_from"] = str(base.path)
    if base.model:
        differing = [
            key
            for key, value in config["model"].items()
            if key not in OVERRIDABLE and value is not None and value != base.model.get(key, value)
        ]
        if differing:
            key = differing[0]
            raise UserError(
                f"model.{key}={config['model'][key]} does not agree with the base, {base.path}, which has "
                f"{base.model[key]}: leave model= and its sizes out, and they follow the base."
            )
        config["model"] = base.model | {key: config["model"][key] for key in OVERRIDABLE if key in config["model"]}
        choices["model"] = base.choices.get("model", choices["model"])
        context = base.model.get("context_length")
        if context and config["data"].get("context_length", 0) > context:
            if any(word.lstrip("+").startswith("data.context_length=") for word in composed.overrides):
                raise UserError(
                    f"data.context_length={config['data']['context_length']} is longer than the base's context of {context}: "
                    "leave it out, and it follows the base."
                )
            config["data"]["context_length"] = context
    if base.tokenizer and config["tokenizer"]:
        if config["tokenizer"]["_target_"] != base.tokenizer["_target_"]:
            raise UserError(
                f"tokenizer={choices.get('tokenizer')} is not the base's, {base.choices.get('tokenizer', 'gpt2')}: the "
                "weights know no other tokens; leave tokenizer= out, and it follows the base."
            )
        choices["tokenizer"] = base.choices.get("tokenizer", choices.get("tokenizer", "base"))


def resolve_auto(config: dict[str, Any], remote: bool = False) -> str | None:
    """Replace what says `auto`: the objective, the device, the precision; the line that says which device was taken."""
    if config["objective"]["metric"] == "auto":
        config["objective"]["metric"] = "val/loss" if has_validation(config) else "train/loss"
    stopping = config["callbacks"].get("early_stopping")
    if isinstance(stopping, dict) and stopping.get("monitor") == "auto":
        stopping["monitor"] = config["objective"]["metric"]
    return device.resolve_device(config["trainer"], targets.get_class(config, "task").safe_precisions, remote)


def has_validation(config: dict[str, Any]) -> bool:
    """Whether there is a validation split, and it is looked at."""
    return config["data"].get("val_fraction", 1) > 0 and config["trainer"].get("limit_val_batches", 1.0) != 0


def write_run_folder(composed: ComposedRun, folder: Path, base: sources.WeightsSource | None) -> None:
    """Fill a run folder that was just made."""
    config = composed.config
    if base and base.tokenizer_folder and config["tokenizer"]:
        (folder / "tokenizer").mkdir(exist_ok=True)
        targets.get_class(config, "tokenizer").load(base.tokenizer_folder).save(folder / "tokenizer")
    runs.write_config(folder, config)
    write_json(
        folder / "run.json",
        new_run_info(
            command=composed.command,
            overrides=composed.overrides,
            choices=composed.choices,
            seed=config["seed"],
            objective=config["objective"],
            base=sources.provenance(base) if base else None,
        ),
    )


def create_run(composed: ComposedRun) -> Path:
    """Check a composed config and make its run folder `<paths.runs>/<date>/<time>-<model>-<data>`."""
    base, taken = check_run(composed)
    if taken:
        print(taken, flush=True)
    names = [composed.choices.get(group, group) for group in ("model", "data")]
    folder = runs.create_run_folder(Path(composed.config["paths"]["runs"]), "-".join(names))
    write_run_folder(composed, folder, base)
    return folder
