"""Records of every format become the same messages, and what is none is refused with file, number and key."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from seqlab.data.records import read_conversations
from seqlab.errors import UserError
from seqlab.prompts.styles import Message

USER, ANSWER = Message("user", "Name it."), Message("assistant", "Dog")
SYSTEM = Message("system", "Be brief.")
SAME = {
    "alpaca": {"instruction": "Name it.", "input": "", "output": "Dog"},
    "no input": {"instruction": "Name it.", "output": "Dog"},
    "null input": {"instruction": "Name it.", "input": None, "output": "Dog", "category": "qa"},
    "chat": {"messages": [{"role": "user", "content": "Name it."}, {"role": "assistant", "content": "Dog"}]},
    "parts": {
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "Name"}, {"type": "text", "text": " it."}]},
            {"role": "assistant", "content": "Dog", "weight": 1},
        ]
    },
    "sharegpt": {"conversations": [{"from": "human", "value": "Name it."}, {"from": "gpt", "value": "Dog"}], "id": 7},
    "completion": {"prompt": "Name it.", "completion": "Dog"},
    "chat completion": {
        "prompt": [{"role": "user", "content": "Name it."}],
        "completion": [{"role": "assistant", "content": "Dog"}],
    },
}


def write(path: Path, values: list[Any]) -> Path:
    path.write_text(json.dumps(values), encoding="utf-8")
    return path


def read(path: Path, *values: Any, keys: dict[str, str] | None = None) -> list[list[Message]]:
    return [one.messages for one in read_conversations([write(path, list(values))], keys)]


@pytest.mark.parametrize("format", SAME)
def test_all_formats_give_the_same_messages(tmp_path: Path, format: str) -> None:
    (found,) = read(tmp_path / "r.json", SAME[format])
    assert [message._replace(is_scored=True) for message in found] == [USER, ANSWER]
    assert found[-1].is_scored


@pytest.mark.parametrize(
    "value",
    [
        {**SAME["alpaca"], "system": "Be brief."},
        {"messages": [{"role": "system", "content": "Be brief."}, *SAME["chat"]["messages"]]},
        {"messages": [{"role": "developer", "content": "Be brief."}, *SAME["chat"]["messages"]]},
        {"conversations": SAME["sharegpt"]["conversations"], "system": "Be brief."},
        {"conversations": [{"from": "system", "value": "Be brief."}, *SAME["sharegpt"]["conversations"]]},
    ],
)
def test_a_system_message_comes_first(tmp_path: Path, value: dict[str, Any]) -> None:
    assert read(tmp_path / "r.json", value) == [[SYSTEM, USER, ANSWER]]


def test_a_blank_system_message_is_none(tmp_path: Path) -> None:
    blank = {"messages": [{"role": "system", "content": " "}, *SAME["chat"]["messages"]]}
    assert read(tmp_path / "r.json", blank, {**SAME["alpaca"], "system": ""}) == [[USER, ANSWER]] * 2


def test_keys_are_mapped(tmp_path: Path) -> None:
    dolly = {"instruction": "Name it.", "context": "A bark.", "response": "Dog", "category": "qa"}
    found = read(tmp_path / "r.json", dolly, keys={"input": "context", "output": "response"})
    assert found == [[Message("user", "Name it.", "A bark."), ANSWER]]
    other = {"prompt": "Name it.", "completion": "Cat", "answer": "Dog"}
    assert read(tmp_path / "r.json", other, keys={"instruction": "prompt", "output": "answer"}) == [[USER, ANSWER]]


def test_a_mapped_key_that_no_record_has_is_refused(tmp_path: Path) -> None:
    dolly = {"instruction": "Name it.", "context": "A bark.", "response": "Dog"}
    with pytest.raises(UserError, match=r"No record has the key contxt, which data.keys.input names"):
        read(tmp_path / "r.json", dolly, dolly, keys={"input": "contxt", "output": "response"})
    without = {key: value for key, value in dolly.items() if key != "context"}
    assert len(read(tmp_path / "r.json", without, dolly, keys={"input": "context", "output": "response"})) == 2


def test_of_several_outputs_the_first_is_taken(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text(
        json.dumps([{"instruction": "Name it.", "output": ["Dog", "A dog"]}, SAME["chat"]])
    )
    several, one = read_conversations([tmp_path / "r.json"])
    assert several.messages == [USER, ANSWER]
    assert (several.has_more_outputs, one.has_more_outputs) == (True, False)


def test_files_of_all_kinds(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    values = [SAME["alpaca"], SAME["chat"]]
    (tmp_path / "lines.jsonl").write_text("\n\n".join(map(json.dumps, values)), encoding="utf-8-sig")
    for name, value in (("a.parquet", SAME["alpaca"]), ("r.parquet", SAME["chat"])):
        parquet.write_table(pyarrow.Table.from_pylist([value]), tmp_path / name)
    found = read_conversations([tmp_path / name for name in ("lines.jsonl", "a.parquet", "r.parquet")])
    assert [one.messages for one in found] == [[USER, ANSWER]] * 4
    (tmp_path / "broken.parquet").write_bytes((tmp_path / "r.parquet").read_bytes()[:-30])
    with pytest.raises(UserError, match=r"broken.parquet is damaged"):
        read_conversations([tmp_path / "broken.parquet"])


TURNS = SAME["chat"]["messages"]
REFUSED: list[tuple[Any, str]] = [
    (
        {"instruction": "Do"},
        r"has no text under output: add it, or name its key with data.keys.output=…; it has instruction",
    ),
    ({"instruction": "Do", "output": "  "}, 'has no text under output but "  ": write one, or remove the record'),
    (
        {"instruction": "Do", "output": None},
        "has null under output, which is not text: write a text, or remove the record",
    ),
    ({"instruction": "Do", "output": 7}, "has 7 under output, which is not text: write it in quotes"),
    ({"instruction": "Do", "output": []}, r"has \[\] under output, which is not text"),
    ({"instruction": "Do", "output": ["yes", 7]}, "has 7 under output"),
    ({"instruction": "", "output": "yes"}, "has no text under instruction"),
    ({"output": "yes"}, "has no text under instruction"),
    ({}, "has no text under instruction"),
    ({"instruction": "Do", "input": 3, "output": "yes"}, "has 3 under input"),
    ({"instruction": "Do", "output": "\ud800"}, "under output, has half a character"),
    (["Do", "yes"], "is not an object but"),
    ("text", "is not an object but"),
    (None, "is not an object but null"),
    ({"prompt": "Do", "completion": 3}, "has 3 under completion"),
    ({"completion": "yes"}, "has no text under prompt"),
    ({"prompt": [TURNS[0]], "completion": "yes"}, '"yes" under completion, not a list of messages'),
    ({"messages": "hello"}, '"hello" under messages, not a list of messages'),
    ({"messages": []}, "under messages, not a list of messages"),
    ({"messages": ["hello"]}, "message 1 of messages, is not an object"),
    ({"messages": [{"role": "user"}]}, "message 1 of messages, has no text under content"),
    (
        {"messages": [TURNS[0], {"role": "assistant", "content": None, "tool_calls": []}]},
        "message 2 of messages, has null under content",
    ),
    ({"messages": [{"role": "tool", "content": "7"}]}, 'has "tool" under role: use system, user or assistant'),
    ({"messages": [{"role": ["user"], "content": "7"}]}, "under role: use system"),
    ({"messages": [TURNS[1]]}, "a message of the assistant where one of the user is due .message 1."),
    ({"messages": [TURNS[0], TURNS[0]]}, "a message of the user where one of the assistant is due .message 2."),
    (
        {"messages": [*TURNS, {"role": "system", "content": "Hm."}]},
        "a message of the system where one of the user is due",
    ),
    ({"messages": TURNS[:1]}, "does not end with a message of the assistant"),
    ({"messages": [{"role": "system", "content": "Hm."}]}, "does not end with a message of the assistant"),
    (
        {"messages": [TURNS[0], {**TURNS[1], "weight": 0.5}]},
        "message 2 of messages, has 0.5 under weight: write 0 or 1",
    ),
    ({"messages": [TURNS[0], {**TURNS[1], "weight": True}]}, "has true under weight"),
    ({"conversations": [{"from": "human", "value": 3}]}, "message 1 of conversations, has 3 under value"),
]


@pytest.mark.parametrize(("value", "message"), REFUSED)
def test_what_is_no_record_is_refused_by_its_number(tmp_path: Path, value: Any, message: str) -> None:
    with pytest.raises(UserError, match=rf"Record 2 of .*r.json.*{message}"):
        read(tmp_path / "r.json", SAME["alpaca"], value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "has no records; write"),
        ("", "has no records; write"),
        ("{}", "Record 1 .* has no text under instruction"),
        ('"text"', "Record 1 of .* is not an object"),
        ('[\n{"instruction": "Do"\n"output": "yes"}]', r"is not JSON: .* line 3, .*record 1"),
        ('{"instruction": "Do", "output": "yes"}\n{"instruction"', "is not JSON: .* line 2, column 15; fix it there"),
    ],
)
def test_what_is_no_file_of_records_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(UserError, match=message):
        read_conversations([tmp_path / "r.json"])


def test_a_separator_of_lines_within_a_text_ends_no_record(tmp_path: Path) -> None:
    values = [{"instruction": f"Do\u2028{number}", "output": "yes"} for number in range(8)]
    lines = "".join(json.dumps(value, ensure_ascii=False) + "\n\n" for value in values)
    (tmp_path / "lines.jsonl").write_text(lines, encoding="utf-8-sig")
    assert read_conversations([tmp_path / "lines.jsonl"]) == read_conversations([write(tmp_path / "list.json", values)])


def test_records_that_are_not_utf8_are_refused(tmp_path: Path) -> None:
    (tmp_path / "latin.json").write_bytes('[{"instruction": "caf\xe9", "output": "yes"}]'.encode("latin1"))
    with pytest.raises(UserError, match="UTF-8"):
        read_conversations([tmp_path / "latin.json"])


def mutate(value: Any, draw: random.Random) -> Any:
    """The value with one part of it replaced, removed or repeated."""
    if isinstance(value, dict) and value and draw.random() < 0.8:
        key = draw.choice(list(value))
        changed = dict(value)
        what = draw.randrange(4)
        if what == 0:
            del changed[key]
        elif what == 1:
            changed[draw.choice(["messages", "role", "output", "from", key.upper()])] = changed.pop(key)
        else:
            changed[key] = mutate(value[key], draw)
        return changed
    if isinstance(value, list) and value and draw.random() < 0.8:
        place = draw.randrange(len(value))
        return draw.choice([value[:place], [*value, value[place]], [*value[:place], mutate(value[place], draw)]])
    return draw.choice([None, 0, 1.5, True, "", " ", "text", [], {}, ["text"], {"type": "text"}, -1, "\ud800", [[]]])


def read_or_refuse(path: Path, data: bytes) -> list[Message] | str:
    """The messages of the first record, or the sentence that refuses the file."""
    path.write_bytes(data)
    try:
        return read_conversations([path])[0].messages
    except UserError as error:
        sentence = str(error)
    assert str(path) in sentence
    assert "\n" not in sentence
    return sentence


def test_a_thousand_mutated_records_are_read_as_they_are_or_refused(tmp_path: Path) -> None:
    """What is read has the very texts of the file, and roles in turn."""
    draw, refused = random.Random(0), 0
    for number in range(1000):
        value = mutate(draw.choice(list(SAME.values())), draw)
        found = read_or_refuse(tmp_path / "r.json", json.dumps([value]).encode())
        if isinstance(found, str):
            refused += 1
            assert "Record 1 of" in found, (number, value, found)
            continue
        texts = [message.content for message in found]
        written = json.dumps(value)
        assert all(json.dumps(text)[1:-1] in written or "type" in written for text in texts), (number, value)
        assert [message.role for message in found if message.role != "system"] == ["user", "assistant"] * (
            len([message for message in found if message.role == "user"])
        )
        assert all(text.strip() for text in texts)
    assert 300 < refused < 950


def test_a_thousand_damaged_files_end_in_a_sentence(tmp_path: Path) -> None:
    draw = random.Random(1)
    values = list(SAME.values())
    whole = (json.dumps(values).encode(), "\n".join(map(json.dumps, values)).encode())
    path, read_whole = tmp_path / "r.json", 0
    for _ in range(1000):
        data = bytearray(draw.choice(whole))
        for _ in range(draw.randint(1, 3)):
            place = draw.randrange(len(data))
            data[place : place + draw.randint(0, 3)] = draw.randbytes(draw.randint(0, 2))
        read_whole += not isinstance(read_or_refuse(path, bytes(data)), str)
    assert read_whole < 700
