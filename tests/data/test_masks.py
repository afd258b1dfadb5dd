"""The mask table: every format in every style, whatever is scored and wherever it is cut, against tokens written by hand."""

import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from seqlab.data.instruction import InstructionDataModule
from seqlab.errors import UserError
from seqlab.tokenizers.byte import ByteTokenizer

PREAMBLE = "Below is an instruction that describes a task. Write a response that appropriately completes the request."
# Two turns, a byte a token: what is scored stands in brackets, $ is the end token, | divides the turns.
TEXTS = {
    "alpaca": f"{PREAMBLE}\n\n### Instruction:\nA?\n\n### Response:\n[ab$]|\n\n### Instruction:\nB?\n\n### Response:\n[c$]",
    "phi": "<user>\nA?\n<assistant>:\n[ab$]|<user>\nB?\n<assistant>:\n[c$]",
    "chatml": "<im_start>user\nA?<im_end>\n<im_start>assistant\n[ab$]|\n<im_start>user\nB?<im_end>\n<im_start>assistant\n[c$]",
    "llama3": "<begin_of_text><start_header_id>user<end_header_id>\n\nA?<eot_id>"
    "<start_header_id>assistant<end_header_id>\n\n[ab$]|"
    "<start_header_id>user<end_header_id>\n\nB?<eot_id><start_header_id>assistant<end_header_id>\n\n[c$]",
    "plain": "A?[ab$]|B?[c$]",
}
TEXTS["stanford_alpaca"] = TEXTS["alpaca"]
USER_A, USER_B = {"role": "user", "content": "A?"}, {"role": "user", "content": "B?"}
SAID_AB, SAID_C = {"role": "assistant", "content": "ab"}, {"role": "assistant", "content": "c"}
SHARED = {"user": "human", "assistant": "gpt"}
FORMATS: dict[str, tuple[Any, list[bool]]] = {  # a record, and which of its answers have a weight
    "alpaca": ({"instruction": "A?", "input": "", "output": "ab"}, [True]),
    "several outputs": ({"instruction": "A?", "output": ["ab", "other"]}, [True]),
    "completion": ({"prompt": "A?", "completion": "ab"}, [True]),
    "chat": ({"messages": [USER_A, SAID_AB, USER_B, SAID_C]}, [True, True]),
    "weights": ({"messages": [USER_A, {**SAID_AB, "weight": 0}, USER_B, {**SAID_C, "weight": 1}]}, [False, True]),
    "chat completion": ({"prompt": [USER_A, SAID_AB, USER_B], "completion": [SAID_C]}, [False, True]),
    "sharegpt": (
        {
            "conversations": [
                {"from": SHARED[one["role"]], "value": one["content"]} for one in (USER_A, SAID_AB, USER_B, SAID_C)
            ]
        },
        [True, True],
    ),
}
CUTS = (
    "not cut",
    "within the first answer",
    "before its end token",
    "within the last prompt",
    "within the first prompt",
)


def parse(style: str, answers: list[bool], supervised: str) -> tuple[list[int], list[bool]]:
    """The ids and the mask that the table says."""
    ids: list[int] = []
    mask: list[bool] = []
    turns = TEXTS[style].split("|")[: len(answers)]
    for number, (turn, has_weight) in enumerate(zip(turns, answers, strict=True)):
        is_last = number == len(turns) - 1
        scored = has_weight and (is_last or supervised == "answers")
        text = turn.replace("<", "<|").replace(">", "|>") if style != "plain" else turn
        inside = False
        for character in text:
            if character in "[]":
                inside = character == "["
                continue
            ids.append(256 if character == "$" else ord(character))
            mask.append(supervised == "all" or (inside and scored))
    return ids, mask


def find_length(cut: str, ids: list[int], mask: list[bool]) -> int:
    """How many ids are kept."""
    answer = bytes(min(i, 255) for i in ids).index(b"ab\xff" if 256 in ids else b"ab")
    places = (len(ids), answer + 1, answer + 2, max(answer + 3, len(ids) - 4), answer - 1)
    return dict(zip(CUTS, places, strict=True))[cut]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("style", TEXTS)
def test_the_mask_table(format: str, style: str, tmp_path: Path) -> None:
    record, answers = FORMATS[format]
    (tmp_path / "r.json").write_text(json.dumps([record]))
    for supervised, cut in product(("answers", "last_answer", "all"), CUTS):
        ids, mask = parse(style, answers, supervised)
        length = find_length(cut, ids, mask)
        data = InstructionDataModule(
            str(tmp_path / "r.json"),
            ByteTokenizer(),
            context_length=length - 1,
            prompt_style=style,  # type: ignore[arg-type]  # one of them
            supervised=supervised,  # type: ignore[arg-type]  # one of them
            truncate=True,
            val_fraction=0,
            test_fraction=0,
        )
        if any(mask[1:length]):
            data.setup()
            assert data.splits["train"][0] == (ids[:length], mask[:length]), (supervised, cut)
            assert bool([one for one in data.notices if "cut at" in one]) == (length < len(ids))
            batch = data.collate([data.splits["train"][0]])
            scored = [target for target in batch.targets[0].tolist() if target != -100]
            assert scored == [i for i, is_scored in zip(ids[1:length], mask[1:length], strict=True) if is_scored]
        else:
            with pytest.raises(UserError, match="has a token to score within"):
                data.setup()
