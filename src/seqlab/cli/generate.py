"""The verb generate."""

import sys

from seqlab.cli.composing import compose_one
from seqlab.cli.words import runs_folder
from seqlab.generate import continuation, show
from seqlab.limits import check_ranges
from seqlab.runs import folder as runs

OPTIONS = ("input", "checkpoint", "dtype", "max_new_tokens", "temperature", "top_k", "top_p", "seed")


def run(words: list[str]) -> int:
    """Write the prompt and its continuation."""
    config = compose_one("generate", words)
    if not config:
        return 0
    check_ranges(config)
    prompt = sys.stdin.read() if config["prompt"] == "-" else str(config["prompt"])
    options = {key: config[key] for key in OPTIONS}
    folder = runs.find(str(config["run"]), runs_folder(words))
    show(folder, prompt, continuation(folder, prompt, accelerator=config["trainer"]["accelerator"], **options))
    return 0
