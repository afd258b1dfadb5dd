"""Writing text, against transformers: python -m benchmarks.decoding --folder runs/smollm2

One prompt of 32 tokens and 256 new ones, on each side with drafts from the text so far and without; 16 prompts of
unequal length and 64 new ones each, which transformers pads on the left; and the time from the command to the first token.
Without `--folder`, a GPT-2 small whose weights were drawn, since only their number matters (it has no tokenizer, and so no time
to the first token). Beside each: what the memory allows, its bandwidth divided by the bytes that a token reads.
"""

import argparse
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from benchmarks.alternate import alternate, machine
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

from seqlab.generation.batch import GenerationBatch, TokenSequence
from seqlab.generation.draft import MAX_DRAFT
from seqlab.generation.next_token import SamplingOptions
from seqlab.serving.engine import load_run
from seqlab.serving.linear import BF16Linear

LENGTHS = [8 + 11 * number for number in range(16)]  # of the prompts of a batch: 8 to 173
FIRST_TOKEN = """
from transformers import AutoModelForCausalLM, AutoTokenizer
model, tokenizer = AutoModelForCausalLM.from_pretrained({folder!r}), AutoTokenizer.from_pretrained({folder!r})
ids = tokenizer({prompt!r}, return_tensors="pt")
out = model.generate(**ids, max_new_tokens=1, do_sample=False)
print(tokenizer.decode(out[0][ids["input_ids"].shape[1]:]), flush=True)
"""
PROMPT = "The capital of France is"


def main() -> None:
    """Print a table for each comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", help="a model in Hugging Face format")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=256, help="that follow one prompt")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or draw_gpt2(Path(scratch))
        print(f"{folder}; {machine()}")
        bandwidth = measure_bandwidth()
        print(f"memory bandwidth {bandwidth / 1e9:.1f} GB/s\n")
        compare_tokens(folder, options.tokens, options.rounds, bandwidth)
        compare_batches(folder, options.rounds)
        if options.folder:
            print("seconds from the command to the first token")
            contenders = {
                "transformers, python -c": lambda: time_command(folder),
                "seqlab generate": lambda: time_verb(folder),
            }
            alternate(dict(reversed(contenders.items())), options.rounds, "s")


def draw_gpt2(scratch: Path) -> str:
    """A folder with a GPT-2 small of drawn weights."""
    torch.manual_seed(0)
    GPT2LMHeadModel(GPT2Config()).save_pretrained(scratch / "gpt2")
    return str(scratch / "gpt2")


def compare_tokens(folder: str, tokens: int, rounds: int, bandwidth: float) -> None:
    """One prompt: in fp32 on both sides, then each as it comes, then with int8 weights."""
    prompt = list(range(1000, 1032))
    for title, dtype, theirs in (
        ("fp32", "float32", torch.float32),
        ("as it comes", "auto", "auto"),
        ("int8", "int8", "auto"),
    ):
        model = load_run(folder, accelerator="cpu", dtype=dtype, packed=True).model  # type: ignore[arg-type]  # one of them
        reference = AutoModelForCausalLM.from_pretrained(folder, dtype=theirs).eval()
        size = count_bytes(model)
        print(f"{title}: 32 + {tokens} tokens, weights of {size / 1e6:.0f} MB, transformers in {reference.dtype}")
        print(f"  {'limit of the memory':<30} {bandwidth / size:9.4f} tokens/s")
        contenders: dict[str, Callable[[], float]] = {
            "seqlab": lambda model=model: tokens / time_ours(model, [prompt], tokens),
            "transformers": lambda model=reference: tokens / time_theirs(model, [prompt], tokens),
            "seqlab without drafts": lambda model=model: tokens / time_ours(model, [prompt], tokens, drafts=False),
            "transformers, prompt lookup": lambda model=reference: (
                tokens / time_theirs(model, [prompt], tokens, prompt_lookup_num_tokens=MAX_DRAFT)
            ),
        }
        alternate(contenders, rounds, "tokens/s")
        if title == "fp32":
            assert write(model, [prompt], tokens) == continue_theirs(reference, [prompt], tokens), "other tokens"


def compare_batches(folder: str, rounds: int) -> None:
    """16 prompts of unequal length in fp32."""
    model = load_run(folder, accelerator="cpu", dtype="float32", packed=True).model
    reference = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    generator = torch.Generator().manual_seed(0)
    prompts = [torch.randint(1000, 40000, (length,), generator=generator).tolist() for length in LENGTHS]
    print("fp32: 16 prompts of 8 to 173 tokens, 64 new ones each")
    contenders: dict[str, Callable[[], float]] = {
        "seqlab": lambda: 16 * 64 / time_ours(model, prompts, 64),
        "transformers, left-padded": lambda: 16 * 64 / time_theirs(reference, prompts, 64),
    }
    alternate(contenders, rounds, "tokens/s")


def write(model: Any, prompts: list[list[int]], tokens: int, drafts: bool = True) -> list[list[int]]:
    """What follows the prompts."""
    batch = GenerationBatch(model)
    batch.can_draft &= drafts
    sequences = [TokenSequence(prompt, SamplingOptions(max_new_tokens=tokens)) for prompt in prompts]
    for sequence in sequences:
        batch.add(sequence)
    while batch.sequences:
        batch.step()
    return [sequence.new_tokens for sequence in sequences]


@torch.inference_mode()
def continue_theirs(model: Any, prompts: list[list[int]], tokens: int, **options: Any) -> list[list[int]]:
    """What follows the prompts according to transformers, with its cache."""
    longest = max(map(len, prompts))
    ids = torch.tensor([[0] * (longest - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    length = {"max_new_tokens": tokens, "min_new_tokens": tokens}
    out = model.generate(ids, attention_mask=mask, do_sample=False, pad_token_id=0, **length, **options)
    return out[:, longest:].tolist()


def time_ours(model: Any, prompts: list[list[int]], tokens: int, **options: Any) -> float:
    """Seconds."""
    start = time.perf_counter()
    write(model, prompts, tokens, **options)
    return time.perf_counter() - start


def time_theirs(model: Any, prompts: list[list[int]], tokens: int, **options: Any) -> float:
    """Seconds."""
    start = time.perf_counter()
    continue_theirs(model, prompts, tokens, **options)
    return time.perf_counter() - start


def time_verb(folder: str) -> float:
    """Seconds until seqlab prints the first token after the prompt."""
    command = [sys.executable, "-m", "seqlab", "generate", f"run={folder}", f"prompt={PROMPT}", "max_new_tokens=1"]
    return time_first_byte([*command, "device=cpu"])


def time_command(folder: str) -> float:
    """Seconds until transformers prints it."""
    return time_first_byte([sys.executable, "-c", FIRST_TOKEN.format(folder=folder, prompt=PROMPT)])


def time_first_byte(command: list[str]) -> float:
    """Seconds until a command has printed its first line."""
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout
        assert process.stdout.readline(), "nothing was printed"
        return time.perf_counter() - start


def measure_bandwidth(size: int = 1 << 28) -> float:
    """Bytes a second at which memory is read: the best of five sums over 1 GiB."""
    numbers = torch.ones(size)
    times = []
    for _ in range(6):
        start = time.perf_counter()
        numbers.sum()
        times.append(time.perf_counter() - start)
    return size * 4 / min(times[1:])


def count_bytes(model: torch.nn.Module) -> int:
    """Bytes of the weights that each token reads: not those of embeddings, of which it reads a row."""
    layers = [module for module in model.modules() if not isinstance(module, torch.nn.Embedding | BF16Linear)]
    weights = [getattr(layer, name, None) for layer in layers for name in ("packed", "quantized", "weight")]
    others = [weight.numel() * weight.element_size() for weight in weights if isinstance(weight, torch.Tensor)]
    return sum(others) + sum(module.num_bytes for module in model.modules() if isinstance(module, BF16Linear))


if __name__ == "__main__":
    main()
