"""The verb generate."""

import sys

from seqlab.cli.compose import compose_one
from seqlab.cli.overrides import get_runs_folder
from seqlab.config.limits import check_ranges
from seqlab.runs import folder as runs
from seqlab.serving.generate import print_completion, stream_completion

OPTIONS = ("input", "checkpoint", "dtype", "max_new_tokens", "temperature", "top_k", "top_p", "seed")


def main(words: list[str]) -> int:
    """Write the prompt and its continuation."""
    config = compose_one("generate", words)
    if not config:
        return 0
    check_ranges(config)
    prompt = sys.stdin.read() if config["prompt"] == "-" else str(config["prompt"])
    options = {key: config[key] for key in OPTIONS}
    folder = runs.find_run(str(config["run"]), get_runs_folder(words))
    print_completion(
        folder, prompt, stream_completion(folder, prompt, accelerator=config["trainer"]["accelerator"], **options)
    )
    return 0
