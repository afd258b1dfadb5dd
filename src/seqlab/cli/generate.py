"""The verb generate."""

import re
import sys
from pathlib import Path

from seqlab.cli.compose import compose_one
from seqlab.errors import UserError
from seqlab.report.listing import find_runs
from seqlab.runs.folder import relative_to_cwd
from seqlab.serving.engine import load_run
from seqlab.streams import replace_control_characters

LOAD_OPTIONS = ("checkpoint", "dtype", "init_from")
STREAM_OPTIONS = ("input", "max_new_tokens", "temperature", "top_k", "top_p", "seed")


def main(args: list[str]) -> int:
    """Print a prompt and what follows it; of an instruction, only the answer."""
    for arg in args:
        if re.match(r"\+*trainer\.(?!accelerator=)", arg):
            raise UserError(f"{arg} has no effect: generating uses one device, such as device=cpu; leave it out.")
    config = compose_one("generate", args)
    if not config:
        return 0
    load_options, stream_options = ({key: config[key] for key in keys} for keys in (LOAD_OPTIONS, STREAM_OPTIONS))
    prompt = sys.stdin.read().removesuffix("\n") if config["prompt"] == "-" else str(config["prompt"] or "")
    run = load_run(
        str(config["run"]), accelerator=config["trainer"]["accelerator"], runs=config["paths"]["runs"], **load_options
    )
    if run.tokenizer is None and "window" in run.data_properties:
        raise UserError(f"{run.folder} is not a language model: {suggest_language_run(Path(config['paths']['runs']))}.")
    pieces = run.stream(prompt, **stream_options)
    if not run.prompt_style:
        sys.stdout.write(prompt)
    for piece in pieces:
        sys.stdout.write(replace_control_characters(piece) if sys.stdout.isatty() else piece)
        sys.stdout.flush()
    sys.stdout.write("\n")
    return 0


def suggest_language_run(runs_folder: Path) -> str:
    """The language model that was trained last, as what to type."""
    runs, _ = find_runs(runs_folder)
    writers = [
        run for run in runs if run.info["steps"] and (run.info["choices"] or {}).get("tokenizer", "none") != "none"
    ]
    if not writers:
        return "train one, as in seqlab train model=gpt data=verdict"
    newest = max(writers, key=lambda run: run.info["started"])
    return f"the last one is run={relative_to_cwd(newest.folder)}"
