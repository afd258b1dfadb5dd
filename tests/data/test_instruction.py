"""Instruction records: formats, splits and masks of REFERENCE, and refusals that name the record."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from seqlab.data.instruction import InstructionDataModule, collate_examples, read_examples, to_messages
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
    records = read_examples(data.files[0])
    assert (len(records), sum(r["input"] != "" for r in records)) == (1100, 325)
    starts = [data.splits[split][0] for split in ("train", "val", "test")]
    assert starts == [data.encode_example(records[number]) for number in (0, 842, 935)]
    text, ids = data.sample_prompt(None)
    assert text == alpaca(records[842]["instruction"], records[842]["input"])
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
    everything = published(shared, val_fraction=0, test_fraction=0, mask_prompt=False)
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
    for number, raw in enumerate(read_examples(data.files[0])[:300]):
        ids, mask = data.splits["train"][number]
        prompt = mask.index(True)
        assert data.prompt_style.render(to_messages(raw)[:1], gpt2(shared)) == (ids[:prompt], mask[:prompt])
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


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"instruction": "Do", "input": ""}, "Record 2 of .* has no text under output"),
        ({"instruction": "Do", "output": "  "}, "Record 2 of .* has no text under output"),
        ({"output": "yes"}, "Record 2 of .* has no text under instruction"),
        ({"instruction": "Do", "input": 3, "output": "yes"}, "Record 2 of .* has no text under input"),
        (["Do", "yes"], "Record 2 of .* is not an object"),
    ],
)
def test_a_malformed_record_is_named_by_its_number(tmp_path: Path, bad: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        written(tmp_path / "r.json", [record(1), bad, record(3)])


def test_what_is_no_list_of_records_is_refused(tmp_path: Path) -> None:
    broken = json.dumps([record(1), record(2), record(3)], indent=1).replace('"Do 2",', '"Do 2"')
    with pytest.raises(UserError, match=r"r.json is not JSON: .* line 9, .*record 2"):
        written(tmp_path / "r.json", broken)
    for nothing, message in (
        ("{}", "Record 1"),
        ("[]", "has no records"),
        ('"text"', "Record 1 of .* is not an object"),
    ):
        with pytest.raises(UserError, match=message):
            written(tmp_path / "r.json", nothing)


def test_json_lines_and_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    lines = "".join(json.dumps(record(number), ensure_ascii=False) + "\n\n" for number in range(8))
    written(tmp_path / "list.json", [record(number) for number in range(8)])
    (tmp_path / "lines.jsonl").write_text(lines.replace("Do 3", "Do\u20283"), encoding="utf-8-sig")
    expected = read_examples(tmp_path / "list.json")
    expected[3] = expected[3] | {"instruction": "Do\u20283"}
    assert read_examples(tmp_path / "lines.jsonl") == expected


def test_records_that_are_not_utf8_are_refused(tmp_path: Path) -> None:
    (tmp_path / "latin.json").write_bytes('[{"instruction": "caf\xe9", "output": "yes"}]'.encode("latin1"))
    with pytest.raises(UserError, match="UTF-8"):
        read_examples(tmp_path / "latin.json")


def test_a_missing_input_is_an_empty_one(tmp_path: Path) -> None:
    data = written(tmp_path / "r.json", [{"instruction": "Do 1", "output": "yes"}])
    assert data.splits["train"][0] == data.encode_example(record(1))
    assert list(InstructionDataModule.tokenizer_training_texts("all", path=str(tmp_path / "r.json"))) == [
        alpaca("Do 1") + "yes"
    ]
