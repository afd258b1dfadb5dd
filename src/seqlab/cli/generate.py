"""The verb generate."""

import sys
from typing import Any

from seqlab.cli.composing import compose
from seqlab.cli.words import runs_folder
from seqlab.generate import continuation, show
from seqlab.limits import check_ranges
from seqlab.runs import folder as runs

OPTIONS = ("input", "checkpoint", "dtype", "max_new_tokens", "temperature", "top_k", "top_p", "seed")


def run(words: list[str]) -> int:
    """Write the prompt and its continuation."""
    jobs = compose("generate", words)
    if not jobs:
        return 0
    config: dict[str, Any] = jobs[0].config
    check_ranges(config)
    prompt = sys.stdin.read() if config["prompt"] == "-" else str(config["prompt"])
    options = {key: config[key] for key in OPTIONS}
    folder = runs.find(str(config["run"]), runs_folder(words))
    show(folder, prompt, continuation(folder, prompt, accelerator=config["trainer"]["accelerator"], **options))
    return 0
