"""What a run on instructions learns: records by heart, a rule that holds for others, and nothing where there is no rule."""

import json
import math
import random
from collections.abc import Callable
from itertools import product
from pathlib import Path
from string import ascii_lowercase

import pytest

EIGHT = {
    "Name the capital of France.": "Paris.",
    "Name a colour of the sky.": "Blue.",
    "What is two and two?": "Four.",
    "Say hello.": "Hello!",
    "Opposite of hot?": "Cold.",
    "Spell cat.": "c-a-t",
    "First month?": "January.",
    "A large animal?": "An elephant.",
}
SMALL = "data=instruction data.path=records.json data.prompt_style=plain data.test_fraction=0 tokenizer=byte".split()
SMALL += "model=gpt_mini model.dropout=0 model.n_embd=64 optimizer.lr=0.003 schedule.warmup_steps=10".split()
SMALL += ["device=cpu", "callbacks.samples=null"]


@pytest.mark.parametrize("packing", ["true", "false"])
def test_eight_records_are_learnt_by_heart_with_their_ends(packing: str, seqlab: Callable, tmp_path: Path) -> None:
    records = [{"instruction": question, "output": answer} for question, answer in EIGHT.items()]
    (tmp_path / "records.json").write_text(json.dumps(records))
    words = ["data.val_fraction=0", "data.context_length=64", "model.n_layer=2", "trainer.max_epochs=120"]
    answer = seqlab("train", *SMALL, *words, f"data.packing={packing}")
    assert answer.status == 0, answer.err
    (tmp_path / "prompts.jsonl").write_text("\n".join(json.dumps({"instruction": question}) for question in EIGHT))
    answer = seqlab("generate", "run=last", "prompts=prompts.jsonl", "max_new_tokens=20", "out=answers.jsonl")
    assert answer.status == 0, answer.err
    written = [json.loads(line) for line in Path("answers.jsonl").read_text().splitlines()]
    assert {one["prompt"]: one["text"] for one in written} == EIGHT
    assert {one["finish_reason"] for one in written} == {"stop"}  # the end token, not the limit


def test_a_rule_holds_for_other_records_and_shuffled_answers_are_none(seqlab: Callable, tmp_path: Path) -> None:
    """The first of two letters. Shuffled, an answer is one of 26 by chance, and its end is certain."""
    rng = random.Random(0)
    pairs = rng.sample(["".join(pair) for pair in product(ascii_lowercase, repeat=2)], 400)
    shuffled = rng.sample([pair[0] for pair in pairs], len(pairs))
    losses = []
    for answers in ([pair[0] for pair in pairs], shuffled):
        records = [{"instruction": pair, "output": answer} for pair, answer in zip(pairs, answers, strict=True)]
        (tmp_path / "records.json").write_text(json.dumps(records))
        words = ["data.val_fraction=0.2", "data.context_length=16", "data.batch_size=32", "model.n_layer=1"]
        answer = seqlab("train", *SMALL, *words, "data.packing=true", "trainer.max_epochs=30")
        assert answer.status == 0, answer.err
        latest = max(tmp_path.glob("runs/*/*/run.json"), key=lambda file: file.stat().st_mtime_ns)
        losses.append(json.loads(latest.read_text())["metrics"]["last"]["val/loss"])
    by_chance = math.log(26) / 2
    assert losses[0] < 0.1 * by_chance
    assert losses[1] > 0.95 * by_chance
