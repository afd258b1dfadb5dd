"""Instruction records: formats, splits and masks of REFERENCE, and refusals that name the record."""

import json
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch

from seqlab.data.instruction import InstructionDataModule, collate_examples
from seqlab.data.records import read_conversations
from seqlab.errors import UserError
from seqlab.prompts.styles import STYLES, Message
from seqlab.tokenizers.byte import ByteTokenizer
from seqlab.tokenizers.gpt2 import GPT2Tokenizer

EOS = 50256
ANSWER_999 = [2025, 281, 1122, 4948, 286, 705, 23855, 3474, 6, 318, 705, 36439, 4458, EOS]


@cache
def gpt2(shared: Path) -> GPT2Tokenizer:
    return GPT2Tokenizer(folders=[str(shared)])


def published(shared: Path, **changes: Any) -> InstructionDataModule:
    data = InstructionDataModule(str(shared / "instruction-data.json"), gpt2(shared), **changes)
    data.setup()
    return data


def written(path: Path, records: Any, **changes: Any) -> InstructionDataModule:
    path.write_text(records if isinstance(records, str) else json.dumps(records))
    data = InstructionDataModule(str(path), ByteTokenizer(), **({"val_fraction": 0, "test_fraction": 0} | changes))
    data.setup()
    return data


def alpaca(instruction: str, input: str = "") -> str:
    return STYLES["alpaca"].format_prompt([Message("user", instruction, input)])


def record(number: int, output: str = "yes") -> dict[str, str]:
    return {"instruction": f"Do {number}", "input": "", "output": output}


def test_splits_in_file_order(shared: Path) -> None:
    data = published(shared)
    assert [len(data.splits[split]) for split in ("train", "val", "test")] == [842, 93, 165]
    records = [one.messages for one in read_conversations(data.files)]
    assert (len(records), sum(user.input != "" for user, _ in records)) == (1100, 325)
    starts = [data.splits[split][0] for split in ("train", "val", "test")]
    assert starts == [data.encode_messages(records[number]) for number in (0, 842, 935)]
    text, ids = data.sample_prompt(None)
    assert text == STYLES["alpaca"].format_prompt(records[842][:1])
    assert gpt2(shared).decode(ids) == text
    assert data.num_dropped == 0


def test_token_lengths_of_all_records(shared: Path) -> None:
    data = published(shared, val_fraction=0, test_fraction=0)
    lengths = [len(ids) - 1 for ids, _ in data.splits["train"]]
    assert (len(lengths), sum(lengths), min(lengths), max(lengths)) == (1100, 62_025, 40, 91)
    assert (lengths[0], lengths[999], lengths.index(91), sorted(lengths)[550]) == (74, 54, 122, 55)


@pytest.mark.parametrize(("format", "number", "tokens"), [("stanford_alpaca", 0, 83), ("phi", 0, 53), ("phi", 999, 38)])
def test_token_lengths_of_other_formats(shared: Path, format: str, number: int, tokens: int) -> None:
    data = published(shared, prompt_style=format, val_fraction=0, test_fraction=0)
    assert len(data.splits["train"][number][0]) - 1 == tokens


def test_supervised_tokens_of_all_records(shared: Path) -> None:
    data = published(shared, val_fraction=0, test_fraction=0)
    batches = list(data.split_dataloader("train"))
    assert sum(int((targets != -100).sum()) for _, targets, _ in batches) == 14_439
    assert sum(len(ids) for ids, _ in data.splits["train"]) == 63_125
    assert sum(int((targets == EOS).sum()) for _, targets, _ in batches) == 1_100  # one end each, though pad == eos
    everything = published(shared, val_fraction=0, test_fraction=0, supervised="all")
    supervised = sum(int((targets != -100).sum()) for _, targets, _ in everything.split_dataloader("train"))
    assert supervised == 63_125 - 1_100  # the first token of a record is nobody's target


def test_supervised_tokens_of_record_999(shared: Path) -> None:
    data = published(shared, val_fraction=0, test_fraction=0)
    inputs, targets, _ = data.collate([data.splits["train"][number] for number in (999, 122)])
    assert targets[0][targets[0] != -100].tolist() == ANSWER_999
    scored = (targets[0] != -100).nonzero().flatten()
    assert torch.equal(inputs[0, scored[1:]], targets[0, scored[:-1]])


def test_the_prompt_for_inference_is_the_prefix_for_training(shared: Path) -> None:
    data = published(shared, val_fraction=0, test_fraction=0)
    for number, raw in enumerate(json.loads(data.files[0].read_text())[:300]):
        ids, mask = data.splits["train"][number]
        prompt = mask.index(True)
        user = Message("user", raw["instruction"], raw["input"])
        assert data.prompt_style.render([user], gpt2(shared)) == (ids[:prompt], mask[:prompt])
        assert gpt2(shared).encode(alpaca(raw["instruction"], raw["input"])) == ids[:prompt]
        assert gpt2(shared).decode(ids[prompt:-1]) == raw["output"]
        assert all(mask[prompt:])
    assert data.sample_prompt("Add.") == (alpaca("Add."), gpt2(shared).encode(alpaca("Add.")))


ITEMS = [0, 1, 2, 3, 4, EOS], [5, 6, EOS], [7, 8, 9, EOS]
INPUTS = [[0, 1, 2, 3, 4], [5, 6, EOS, EOS, EOS], [7, 8, 9, EOS, EOS]]


@pytest.mark.parametrize(
    ("items", "prompts", "inputs", "targets"),
    [
        (ITEMS, None, INPUTS, [[1, 2, 3, 4, EOS], [6, EOS, -100, -100, -100], [8, 9, EOS, -100, -100]]),
        (ITEMS, (3, 1, 2), INPUTS, [[-100, -100, 3, 4, EOS], [6, EOS, -100, -100, -100], [-100, 9, EOS, -100, -100]]),
        ([[7, EOS]], None, [[7]], [[EOS]]),
        ([[1, EOS, 2, EOS], [5, EOS]], None, [[1, EOS, 2], [5, EOS, EOS]], [[EOS, 2, EOS], [EOS, -100, -100]]),
    ],
)
def test_collate(items: Any, prompts: tuple[int, ...] | None, inputs: list, targets: list) -> None:
    masks = [
        [n >= length for n in range(len(ids))] for ids, length in zip(items, prompts or [0] * len(items), strict=True)
    ]
    batch = collate_examples(list(zip(items, masks, strict=True)), EOS)
    assert [batch.inputs.tolist(), batch.targets.tolist(), batch.document_ids] == [inputs, targets, None]
    assert batch.inputs.dtype == batch.targets.dtype == torch.int64


def test_records_longer_than_the_context_are_dropped_and_counted(tmp_path: Path) -> None:
    records = [record(1), record(2, "x" * 500), record(3)]
    exact = len(alpaca("Do 1")) + len("yes")  # the end token is only a target
    data = written(tmp_path / "r.json", records, context_length=exact)
    assert (len(data.splits["train"]), data.num_dropped) == (2, 1)
    assert all(ids[-1] == 256 for ids, _ in data.splits["train"])  # nothing lost its end
    with pytest.raises(
        UserError, match=rf"All 3 train records of r.json are longer than .*={exact - 1} tokens: use {exact + 497}"
    ):
        written(tmp_path / "r.json", records, context_length=exact - 1)


def test_repeated_and_leaked_prompts_are_counted(shared: Path) -> None:
    data = published(shared)
    raw = [(one["instruction"], one["input"]) for one in json.loads(data.files[0].read_text())]
    train, val, test = raw[:842], raw[842:935], raw[935:]
    leaked = [sum(prompt in set(train) for prompt in part) for part in (val, test)]
    assert leaked == [2, 6]
    repeated = [len(part) - len(set(part)) for part in (train, test)]
    said = "{} train and {} test records repeat a prompt, 2 val and 6 test records have a prompt that is trained on: ".format(
        *repeated
    )
    assert data.notices == [said + "data.drop_duplicates=true leaves them out"]
    dropped = published(shared, drop_duplicates=True)
    assert sum(len(split) for split in dropped.splits.values()) == 1100 - 25 == len(set(raw))
    assert dropped.notices == [said + "left out"]


def test_splits_are_drawn_and_files_are_many(tmp_path: Path) -> None:
    records = [record(number) for number in range(20)]
    fractions = {"val_fraction": 0.25, "test_fraction": 0.2}
    in_order, first, again, other = (
        written(tmp_path / "r.json", records, **fractions, split_seed=seed) for seed in (None, 1, 1, 2)
    )
    contents = [
        [data.splits[split].items for split in ("train", "val", "test")] for data in (in_order, first, again, other)
    ]
    assert [len(part) for part in contents[0]] == [len(part) for part in contents[1]] == [12, 4, 4]
    assert contents[1] == contents[2]
    assert contents[1] not in (contents[0], contents[3])
    assert sorted(chain(*contents[1])) == sorted(chain(*contents[0]))
    (tmp_path / "folder").mkdir()
    for name, numbers in (("a.json", range(3)), ("b.jsonl", range(3, 5))):
        (tmp_path / "folder" / name).write_text(json.dumps([record(number) for number in numbers]))
    (tmp_path / "folder" / "b.jsonl").write_text("\n".join(json.dumps(record(number)) for number in (3, 4)))
    many = InstructionDataModule([str(tmp_path / "folder"), str(tmp_path / "r.json")], ByteTokenizer(), test_fraction=0)
    many.setup()
    assert [len(many.splits[split]) for split in ("train", "val")] == [23, 2]
    assert [file.name for file in many.files] == ["a.json", "b.jsonl", "r.json"]


@pytest.mark.parametrize(
    ("style", "scored"), [("alpaca", b"yes\0"), ("chatml", b"yes\0"), ("llama3", b"yes\0"), ("plain", b"yes\0")]
)
def test_records_in_every_style(tmp_path: Path, style: str, scored: bytes) -> None:
    data = written(tmp_path / "r.json", [record(1)], prompt_style=style, system_prompt="Be brief.", context_length=400)
    ids, mask = data.splits["train"][0]
    text = bytes(0 if i == 256 else i for i in ids).decode()
    assert text.startswith("<|begin_of_text|>" if style == "llama3" else "")
    assert text.index("Be brief.") < text.index("Do 1")
    assert bytes(0 if i == 256 else i for i, is_scored in zip(ids, mask, strict=True) if is_scored) == scored
    with pytest.raises(UserError, match="is that of a tokenizer's own folder"):
        written(tmp_path / "r.json", [record(1)], prompt_style="chat_template")


TALK = {
    "messages": [
        {"role": "user", "content": "A?"},
        {"role": "assistant", "content": "a", "weight": 0},
        {"role": "user", "content": "B?"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "C?"},
        {"role": "assistant", "content": "c"},
    ]
}


@pytest.mark.parametrize(("supervised", "scored"), [("answers", b"b\0c\0"), ("last_answer", b"c\0"), ("all", None)])
def test_what_is_supervised(tmp_path: Path, supervised: str, scored: bytes | None) -> None:
    data = written(tmp_path / "r.jsonl", json.dumps(TALK), supervised=supervised, prompt_style="phi")
    ids, mask = data.splits["train"][0]
    text = "".join(f"<|user|>\n{one.upper()}?\n<|assistant|>:\n{one}\0" for one in "abc")
    assert bytes(0 if i == 256 else i for i in ids).decode() == text
    expected = text.encode() if scored is None else scored
    assert bytes(0 if i == 256 else i for i, is_scored in zip(ids, mask, strict=True) if is_scored) == expected


def test_long_records_are_cut_where_that_is_asked_for(tmp_path: Path) -> None:
    prompt = len("<|user|>\nDo 1\n<|assistant|>:\n")
    records = [record(1, "yes"), record(2, "x" * 50), {**record(3), "instruction": "Do " + "3" * 50}]
    options = {"context_length": prompt + 5, "prompt_style": "phi"}
    cut = written(tmp_path / "r.json", records, truncate=True, **options)
    first, second = cut.splits["train"]
    assert bytes(first[0][prompt:-1]) == b"yes"
    assert first[0][-1] == 256
    assert bytes(second[0][prompt:]) == b"xxxxxx"  # an answer that is cut does not end
    assert all(second[1][prompt:])
    assert cut.notices == [
        f"2 train records cut at data.context_length={prompt + 5} tokens (the longest has {prompt + 52})",
        f"1 train record left out, without a scored token within data.context_length={prompt + 5}",
    ]
    left_out = written(tmp_path / "r.json", records, **options)
    assert len(left_out.splits["train"]) == 1
    assert left_out.num_dropped == 2
    assert "2 train records left out, longer than" in left_out.notices[0]
    silent = [{"messages": [{**message, "weight": 0} for message in TALK["messages"]]}]
    with pytest.raises(UserError, match=r"No train record of r.json has a token to score"):
        written(tmp_path / "r.json", silent)


def test_a_tokenizer_learns_from_all_that_is_rendered(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text(json.dumps([{"instruction": "Do 1", "output": "yes"}, TALK]))
    texts = InstructionDataModule.tokenizer_training_texts("all", path=str(tmp_path / "r.json"))
    assert next(texts) == alpaca("Do 1") + "yes"
    assert next(texts).count("### Response") == 3
    with pytest.raises(StopIteration):
        next(texts)
