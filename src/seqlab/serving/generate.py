"""Continue a prompt with a run's model. Knows no Lightning, to be there in a second."""

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch

from seqlab import build, device
from seqlab.errors import UserError
from seqlab.generation.generate import decode_stream, generate, sample_token
from seqlab.prompts.styles import STYLES
from seqlab.runs import folder as runs
from seqlab.seeding import derive_seed
from seqlab.weights import sources


def stream_completion(
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
    if not config["tokenizer"] or not runs.read_run_info(run)["data_properties"]:
        raise UserError(f"{run} has no language model to generate from: take a run on text or instructions.")
    if dtype not in ("auto", "float32") or checkpoint not in ("best", "last"):
        raise UserError(f"dtype={dtype} checkpoint={checkpoint}: take auto or float32, and best or last.")
    tokenizer = build.build_tokenizer(config, run)
    try:
        ids = tokenizer.encode(render_prompt(config["data"], prompt, input))
    except ValueError as error:
        raise UserError(str(error)) from error
    if not ids:
        raise UserError('The prompt is empty: give one with prompt="…".')
    place = device.torch_device(accelerator)
    model = sources.load_model_from_run(run, sources.weights_path(run, checkpoint)).to(place)
    if dtype == "auto" and place.type == "cuda":
        model = model.to(torch.bfloat16)
    generator = torch.Generator(place).manual_seed(derive_seed(seed, "sampling"))
    pick = partial(sample_token, temperature=temperature, top_k=top_k, top_p=top_p, generator=generator)
    return decode_stream(generate(model, ids, max_new_tokens, tokenizer.eos_id, pick), tokenizer.decode)


def render_prompt(data: dict[str, Any], prompt: str, input: str) -> str:
    """The prompt as it stands, or for instruction data as an instruction."""
    if "prompt_style" in data:
        return STYLES[data["prompt_style"]](prompt, input)
    if input:
        raise UserError(
            f"input={input} goes with an instruction, and this run was not trained on instructions: leave it out."
        )
    return prompt


def print_completion(run: Path, prompt: str, pieces: Iterator[str]) -> None:
    """Write a continuation to standard output as it comes, after its prompt; of an instruction only the answer."""
    if "prompt_style" not in runs.read_config(run)["data"]:
        sys.stdout.write(prompt)
    for piece in pieces:
        sys.stdout.write(piece)
        sys.stdout.flush()
    sys.stdout.write("\n")
