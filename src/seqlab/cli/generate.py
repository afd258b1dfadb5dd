"""The verb generate."""

import sys

from seqlab.cli.compose import compose_one
from seqlab.cli.overrides import runs_folder
from seqlab.config.limits import check_ranges
from seqlab.runs import folder as runs
from seqlab.serving.generate import continuation, show

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
