"""The verb generate."""

import sys

from seqlab.cli.compose import compose_one
from seqlab.serving.engine import load_run

LOAD_OPTIONS = ("checkpoint", "dtype", "init_from")
STREAM_OPTIONS = ("input", "max_new_tokens", "temperature", "top_k", "top_p", "seed")


def main(args: list[str]) -> int:
    """Print a prompt and what follows it; of an instruction, only the answer."""
    config = compose_one("generate", args)
    if not config:
        return 0
    load_options, stream_options = ({key: config[key] for key in keys} for keys in (LOAD_OPTIONS, STREAM_OPTIONS))
    prompt = sys.stdin.read() if config["prompt"] == "-" else str(config["prompt"] or "")
    run = load_run(
        str(config["run"]), accelerator=config["trainer"]["accelerator"], runs=config["paths"]["runs"], **load_options
    )
    pieces = run.stream(prompt, **stream_options)
    if not run.prompt_style:
        sys.stdout.write(prompt)
    for piece in pieces:
        sys.stdout.write(piece)
        sys.stdout.flush()
    sys.stdout.write("\n")
    return 0
