"""Commands as documentation gives them, made short enough for a test."""

import hashlib
import io
import math
import random
import re
import shlex
from collections.abc import Iterable
from pathlib import Path

import pytest

from seqlab.config.groups import group_options, read_option
from seqlab.config.signatures import parameters
from seqlab.config.targets import resolve_target

NOTES = "One note a day keeps the deadline away; two make it a habit.\n" * 400  # notes.txt
LANGUAGE_MODELS = [
    name
    for name in group_options()["model"]
    if "vocab_size" in parameters(resolve_target(read_option("model", name)["_target_"], "model"))
]
TEXTS = [f"data={name}" for name in ("text", "verdict", "shakespeare", "code", "instruction")]
SIZES = {"n_layer": 1, "n_head": 2, "n_kv_head": 1, "n_embd": 16, "hidden_size": 16}
SMALL = ["model.n_layer=1", "model.n_head=2", "model.n_embd=16"]  # a GPT


def to_args(line: str) -> list[str]:
    """`python train.py …` and `seqlab …` are the same command; `<run>` is any run."""
    words = shlex.split(line)
    args = ["train", *words[2:]] if words[0] == "python" else words[1:]
    return [re.sub(r"<[\w ]+>", "last", arg) for arg in args]


def shorten(args: list[str]) -> list[str]:
    """The same command with less to train, on the CPU."""
    for pattern, fewer in (
        (r"^(seed=\d+,\d+).*", r"\1"),
        (r"^sweep\.seeds=.*", "sweep.seeds=2"),
        (r"^trainer\.max_steps=-1$", "trainer.max_steps=8"),
    ):
        args = [re.sub(pattern, fewer, arg) for arg in args]
    if "hydra/launcher=slurm" in args:
        args = [*args, "hydra.launcher.cluster=local"]
    if args[0] != "train" or "--help" in args or "--cfg" in args or any("resume=" in arg for arg in args):
        return args
    if not any(arg.startswith("device=") for arg in args):
        args = [*args, "device=cpu"]
    if "device=ddp" in args:
        args = [*args, "trainer.accelerator=cpu"]
    if not any(arg.startswith(("debug=", "trainer.max_steps=")) for arg in args):
        args = [*args, "debug=fast"]
    is_large = any(arg in TEXTS for arg in args) and "model=gpt_mini" not in args
    model = next((arg.removeprefix("model=") for arg in args if arg.startswith("model=")), "gpt")
    if is_large and model in LANGUAGE_MODELS and not any("init_from" in arg for arg in args):
        args = [*args, *(f"model.{key}={size}" for key, size in SIZES.items() if key in read_option("model", model))]
    return args


def write_texts(folder: Path) -> None:
    """What pages call notes.txt, my-texts and my-code: a text, a folder of texts, a folder of code."""
    (folder / "notes.txt").write_text(NOTES)
    for name in ("my-texts/notes.md", "my-texts/more/a.txt", "my-code/a.py", "my-code/more/b.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"{NOTES}{name}\n")


def write_tokenizer(folder: Path) -> None:
    """A folder with a tokenizer in Hugging Face format, a byte-level BPE of a few tokens."""
    from tokenizers import ByteLevelBPETokenizer

    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator([NOTES], vocab_size=280, special_tokens=["<|endoftext|>"], show_progress=False)
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text('{"eos_token": "<|endoftext|>"}')


def write_mistral(folder: Path) -> None:
    """A folder of a family that seqlab has no module for: a small Mistral with random weights."""
    import transformers

    write_tokenizer(folder)
    sizes = {"hidden_size": 32, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = transformers.MistralConfig(vocab_size=281, num_key_value_heads=2, sliding_window=None, **sizes)
    transformers.MistralForCausalLM(config).save_pretrained(folder)


def write_series(file: Path, rows: int = 400, gap: Iterable[int] = ()) -> None:
    """A CSV file with a time and two columns of numbers; cells of the first one are empty in the rows of `gap`."""
    draw = random.Random(0)
    lines = ["time,temperature,load"]
    for row in range(rows):
        temperature = 12 + 6 * math.sin(row / 4) + draw.gauss(0, 0.5)
        cell = "" if row in gap else f"{temperature:.3f}"
        lines.append(
            f"2026-01-{1 + row // 24 % 28:02d} {row % 24:02d}:00,{cell},{3000 - 40 * temperature + draw.gauss(0, 20):.2f}"
        )
    file.write_text("\n".join(lines) + "\n")


def write_r50k_base(folder: Path, shared: Path) -> None:
    """The published file of tiktoken's r50k_base, which has GPT-2's tokens, where it is looked for below a folder."""
    from seqlab.tokenizers.encoding import RANKS, URL, EncodingTokenizer
    from seqlab.tokenizers.gpt2 import GPT2Tokenizer

    cache = folder / "tiktoken_cache"
    cache.mkdir(parents=True)
    EncodingTokenizer.save(GPT2Tokenizer(folders=[str(shared)]), cache)
    (cache / RANKS).rename(cache / hashlib.sha1(f"{URL}r50k_base.tiktoken".encode()).hexdigest())


def end_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what goes on until it is ended end: a conversation after a message, a server before a request."""
    monkeypatch.setattr("sys.stdin", io.StringIO("Hello\n"))
    monkeypatch.setattr("uvicorn.Server.run", lambda self, sockets: [place.close() for place in sockets])


def needed_before(args: list[str]) -> list[list[str]]:
    """The commands that make what a command refers to as `last`, if there is nothing yet."""
    if args[0] == "report" or "sweep.resume=last" in args:
        has_sweep = bool(list(Path("runs").glob("*/*/sweep.json")))
        return [] if has_sweep else [["train", "-m", "seed=1,2", "trainer.max_epochs=1", "device=cpu"]]
    if args[0] == "forecast" and not list(Path("runs").glob("*/*/run.json")):
        return [["train", "trainer.max_epochs=1", "device=cpu"]]
    refers = args[0] in ("runs", "diff") or any(re.match(r"(run|init_from|resume|a|b)=last$", arg) for arg in args)
    if not refers or list(Path("runs").glob("*/*/run.json")):
        return []
    text = ["data=verdict", "model=gpt_mini", *SMALL, "tokenizer=byte", "data.context_length=200"]
    return [["train", *text, "debug=fast", "device=cpu", "trainer.max_steps=1"]]
