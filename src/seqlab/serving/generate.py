"""Continue a prompt with a run's model. Knows no Lightning, to be there in a second."""

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch

from seqlab import build, device
from seqlab.errors import Mistake
from seqlab.generation.generate import choose, generate, stream_text
from seqlab.prompts.styles import FORMATS
from seqlab.runs import folder as runs
from seqlab.seeding import stream
from seqlab.weights import sources


def continuation(
    run: Path,
    prompt: str,
    input: str = "",
    checkpoint: str = "best",
    accelerator: str = "auto",
    dtype: str = "auto",
    max_new_tokens: int = 100,
    temperature: float = 0.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int = 0,
) -> Iterator[str]:
    """Pieces of the text that follows the prompt, up to the end token; an instruction is rendered as in training.

    Raises Mistake for a run that is no language model, an empty prompt, or one that its tokenizer does not know.
    """
    config = runs.read_config(run)
    if not config["tokenizer"] or not runs.read_record(run)["facts"]:
        raise Mistake(f"{run} has no language model to generate from: take a run on text or instructions.")
    if dtype not in ("auto", "float32") or checkpoint not in ("best", "last"):
        raise Mistake(f"dtype={dtype} checkpoint={checkpoint}: take auto or float32, and best or last.")
    tokenizer = build.tokenizer(config, run)
    try:
        ids = tokenizer.encode(rendered(config["data"], prompt, input))
    except ValueError as error:
        raise Mistake(str(error)) from error
    if not ids:
        raise Mistake('The prompt is empty: give one with prompt="…".')
    place = device.torch_device(accelerator)
    model = sources.restored(run, sources.weights_of(run, checkpoint)).to(place)
    if dtype == "auto" and place.type == "cuda":
        model = model.to(torch.bfloat16)
    generator = torch.Generator(place).manual_seed(stream(seed, "sampling"))
    pick = partial(choose, temperature=temperature, top_k=top_k, top_p=top_p, generator=generator)
    return stream_text(generate(model, ids, max_new_tokens, tokenizer.eos_id, pick), tokenizer.decode)


def rendered(data: dict[str, Any], prompt: str, input: str) -> str:
    """The prompt as it stands, or for instruction data as an instruction."""
    if "format" in data:
        return FORMATS[data["format"]](prompt, input)
    if input:
        raise Mistake(
            f"input={input} goes with an instruction, and this run was not trained on instructions: leave it out."
        )
    return prompt


def show(run: Path, prompt: str, pieces: Iterator[str]) -> None:
    """Write a continuation to standard output as it comes, after its prompt; of an instruction only the answer."""
    if "format" not in runs.read_config(run)["data"]:
        sys.stdout.write(prompt)
    for piece in pieces:
        sys.stdout.write(piece)
        sys.stdout.flush()
    sys.stdout.write("\n")
