"""What drafts gain, by what is written: python -m benchmarks.drafts --folder runs/smollm2

Answers of a chat model to questions of several kinds, 200 tokens at most, at temperature 0 and 0.8, with drafts and without. The
texts are compared: in fp32 they are the same. Without `--folder`, a small model that was trained for a step, and plain prompts.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.alternate import alternate, machine
from benchmarks.server_memory import train_small

from seqlab.generation.batch import GenerationBatch, TokenSequence
from seqlab.generation.next_token import SamplingOptions
from seqlab.serving.engine import load_run
from seqlab.serving.language import encode_prompt, list_end_ids

README = Path(__file__).parents[1] / "README.md"
QUESTIONS = {
    "why the sky is blue": "Explain to a child why the sky is blue.",
    "a story": "Write a short story about a painter.",
    "ten fruits": "List ten fruits and their colours.",
    "a summary": "Summarize this text: ",
}


def main() -> None:
    """Print a table for each question and temperature."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", help="a chat model in Hugging Face format, or a run")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--tokens", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        run = load_run(options.folder or train_small(scratch), accelerator="cpu", dtype=options.dtype, packed=True)
        print(f"{run.folder}, {options.dtype}; {machine()}")
        for name, question in QUESTIONS.items():
            for temperature in (0.0, 0.8):
                print(f"{name}, temperature {temperature}")
                compare_drafts(run, name, question, temperature, options)


def compare_drafts(run: Any, name: str, question: str, temperature: float, options: argparse.Namespace) -> None:
    """Tokens a second after the prompt is read."""
    if name == "a summary":
        question += README.read_text(encoding="utf-8")[:2500]
    ids = encode_prompt(run, question[: (run.context_length or 8192) // 2])  # a token has a character at least
    texts: dict[bool, list[int]] = {}

    def write(drafts: bool) -> float:
        batch = GenerationBatch(run.model, run.tokenizer.vocab_size)
        batch.can_draft &= drafts
        sampling = SamplingOptions(max_new_tokens=options.tokens, temperature=temperature)
        sequence = TokenSequence(ids, sampling, list_end_ids(run))
        batch.add(sequence)
        batch.step()
        start = time.perf_counter()
        while batch.sequences:
            batch.step()
        texts[drafts] = sequence.new_tokens
        return len(sequence.new_tokens) / (time.perf_counter() - start)

    alternate({"with drafts": lambda: write(True), "without": lambda: write(False)}, options.rounds, "tokens/s")
    print(f"  the texts are {'the same' if texts[True] == texts[False] else 'not the same'}")


if __name__ == "__main__":
    main()
