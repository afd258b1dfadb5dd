"""The verb generate: one prompt or a file of them, several samples, examples before the others, and what has no effect."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seqlab.serving.engine import load_run

RECORDS = [
    {"instruction": "Name a river.", "input": "", "output": "The mill."},
    {"instruction": "Who closed it?", "input": "the sluice", "output": "The miller."},
    {"instruction": "What ran?", "output": "The river."},
]


@pytest.fixture
def run(seqlab: Callable, tiny: list[str]) -> str:
    """A run of a small model over the story, with room for longer prompts."""
    assert seqlab(*tiny, "data.context_length=128", "tokenizer=byte").status == 0
    return "run=last"


def read_lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("suffix", [".txt", ".jsonl", ".json"])
def test_a_file_of_prompts(suffix: str, run: str, seqlab: Callable) -> None:
    prompts = ["The river", "The mill 日本", "A"]
    texts = {
        ".txt": "\n".join(prompts) + "\n\n",
        ".jsonl": "".join(json.dumps({"prompt": prompt}) + "\n" for prompt in prompts),
        ".json": json.dumps([{"prompt": prompts[0]}, prompts[1], {"instruction": prompts[2]}]),
    }
    Path(f"prompts{suffix}").write_text(texts[suffix])
    words = (run, f"prompts=prompts{suffix}", "temperature=0.8", "n=2", "seed=4", "max_new_tokens=9", "device=cpu")
    found = read_lines(seqlab("generate", *words).out)
    loaded = load_run("last", accelerator="cpu")
    assert [one["prompt"] for one in found] == [prompt for prompt in prompts for _ in range(2)]
    assert [one["seed"] for one in found] == [4, 5] * 3
    for one in found:
        options = {"temperature": 0.8, "max_new_tokens": 9, "seed": one["seed"]}
        assert one["text"] == loaded.generate(one["prompt"], **options)
    answer = seqlab("generate", *words, "out=answers/a.jsonl")
    assert "written     answers/a.jsonl" in answer.out
    assert read_lines(Path("answers/a.jsonl").read_text()) == found


def test_probabilities_are_noted(run: str, seqlab: Callable) -> None:
    Path("prompts.txt").write_text("The river\n")
    words = (run, "prompts=prompts.txt", "logprobs=2", "max_new_tokens=5", "device=cpu")
    (found,) = read_lines(seqlab("generate", *words).out)
    assert len(found["logprobs"]) == found["tokens"] == 5
    assert all(noted["top"][0][1] == noted["logprob"] and len(noted["top"]) == 2 for noted in found["logprobs"])


def test_several_samples_of_one_prompt(run: str, seqlab: Callable) -> None:
    out = seqlab("generate", run, "prompt=The", "n=2", "temperature=1", "seed=3", "max_new_tokens=6", "device=cpu").out
    loaded = load_run("last", accelerator="cpu")
    texts = [loaded.generate("The", temperature=1, seed=seed, max_new_tokens=6) for seed in (3, 4)]
    assert out == f"--- seed=3\nThe{texts[0]}\n--- seed=4\nThe{texts[1]}\n"


def test_records_are_examples_for_the_others(run: str, seqlab: Callable) -> None:
    Path("records.json").write_text(json.dumps(RECORDS))
    words = ("prompts=records.json", "shots=2", "max_new_tokens=20", "device=cpu", "temperature=1.5")
    (found,) = read_lines(seqlab("generate", run, *words).out)
    plain = "Name a river.\nAnswer: The mill.\n\nWho closed it?\nthe sluice\nAnswer: The miller.\n\nWhat ran?\nAnswer:"
    text = load_run("last", accelerator="cpu").generate(plain, max_new_tokens=20, temperature=1.5, stop="\n\n")
    assert (found["prompt"], found["text"]) == ("What ran?", text)


def test_records_are_turns_of_a_run_on_instructions(tiny: list[str], seqlab: Callable) -> None:
    Path("records.json").write_text(json.dumps(RECORDS * 8))
    small = [word for word in tiny if word.startswith("model")]
    words = ["data=instruction", "data.path=records.json", "tokenizer=byte", *small, "data.context_length=1024"]
    assert seqlab("train", *words, "device=cpu", "trainer.max_steps=1", "adapter=none").status == 0
    Path("three.json").write_text(json.dumps(RECORDS))
    found = read_lines(
        seqlab("generate", "run=last", "prompts=three.json", "shots=2", "max_new_tokens=8", "device=cpu").out
    )
    assert [one["prompt"] for one in found] == ["What ran?"]


def test_prompts_have_the_keys_of_training(tiny: list[str], seqlab: Callable) -> None:
    dolly = [{"instruction": f"Do {n}.", "context": f"on {n}", "response": "so"} for n in range(20)]
    Path("dolly.json").write_text(json.dumps(dolly))
    small = [word for word in tiny if word.startswith("model")]
    words = ["data=instruction", "data.path=dolly.json", "data.keys.input=context", "data.keys.output=response"]
    words += ["tokenizer=byte", *small, "data.context_length=400", "device=cpu", "trainer.max_steps=1"]
    assert seqlab("train", *words, "adapter=none").status == 0
    answer = seqlab("generate", "run=last", "prompts=dolly.json", "max_new_tokens=2", "device=cpu")
    assert [(one["prompt"], one["input"]) for one in read_lines(answer.out)][:2] == [
        ("Do 0.", "on 0"),
        ("Do 1.", "on 1"),
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["prompts=nowhere.txt"], "prompts=nowhere.txt does not exist"),
        (["prompts=empty.txt"], "has no prompts"),
        (["prompts=bad.jsonl"], "Record 2 of .*bad.jsonl has no text under prompt"),
        (["prompts=list.json"], "Record 1 of .*list.json is 5, which is not an object"),
        (["prompts=p.txt", "prompt=hi"], "Give one of the two"),
        ([], "Give one of the two"),
        (["prompts=p.txt", "input=x"], "each record has its own"),
        (["prompt=hi", "out=a.jsonl"], "out=a.jsonl has no effect on one prompt"),
        (["prompt=hi", "shots=1"], "shots=1 has no effect on one prompt"),
        (["prompt=hi", "logprobs=1"], "logprobs=1 has no effect on one prompt"),
        (["prompts=p.txt", "shots=1"], "Record 1 has no output"),
        (["prompts=p.txt", "shots=2"], "leaves none of 2 records"),
        (["prompts=p.txt", "shots=-1"], "shots=-1 does not fit"),
        (["prompt=hi", "n=2"], "all the same at temperature=0"),
        (["prompt=hi", "n=0", "temperature=1"], "n=0 does not fit"),
        (["prompt=hi", "stop=[1]"], "it must be a text, or a list of texts"),
        (["prompt=hi", "logit_bias={999: 1}"], "logit_bias names token 999"),
        (["prompt=hi", "dtype=float16"], "dtype=float16 does not fit"),
        (["prompts=p.txt", "out=/proc/a.jsonl"], "/proc/a.jsonl cannot be written"),
    ],
)
def test_what_does_not_fit_is_refused(words: list[str], message: str, run: str, seqlab: Callable) -> None:
    Path("p.txt").write_text("one\ntwo\n")
    Path("empty.txt").write_text("\n")
    Path("bad.jsonl").write_text('{"prompt": "a"}\n{"text": "b"}\n')
    Path("list.json").write_text("[5]")
    answer = seqlab("generate", run, *words, "device=cpu")
    assert answer.status != 0
    import re

    assert re.search(message, " ".join(answer.err.split())), answer.err
    assert "Traceback" not in answer.err
    assert not Path("a.jsonl").exists()


def test_each_dtype_writes(run: str, seqlab: Callable) -> None:
    texts = {
        dtype: seqlab("generate", run, "prompt=The river", f"dtype={dtype}", "device=cpu", "max_new_tokens=4").out
        for dtype in ("auto", "float32", "bfloat16", "int8")
    }
    assert texts["auto"] == texts["float32"]  # a small model
    assert all(text.startswith("The river") for text in texts.values())
