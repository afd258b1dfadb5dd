"""Files as they lie on disks: formats, compressions, ends of lines, and bytes that are not text."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from seqlab.data import readers
from seqlab.data.readers import TextReader
from seqlab.errors import UserError

TEXTS = ["One.\nTwo\u2028three\u0085four\x0bfive.", "", "déjà vu 🙂\n"]


def read(path: Path, **options: Any) -> list[str]:
    return ["".join(document) for document in TextReader(**options).read_documents(path)]


def compressed(path: Path, content: bytes) -> Path:
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(content))
    elif path.suffix == ".zst":
        with pyarrow.CompressedOutputStream(str(path), "zstd") as file:
            file.write(content)
    else:
        path.write_bytes(content)
    return path


@pytest.mark.parametrize("compression", ["", ".gz", ".zst"])
def test_every_format_gives_its_documents(compression: str, tmp_path: Path) -> None:
    lines = "\n".join(json.dumps({"text": text, "n": 1}, ensure_ascii=False) for text in TEXTS)
    contents = {"a.txt": "".join(TEXTS), "a.md": "# A", "a.jsonl": f"{lines}\n\n", "a.json": json.dumps(TEXTS)}
    read_back = {
        name: read(compressed(tmp_path / f"{name}{compression}", content.encode()))
        for name, content in contents.items()
    }
    assert read_back == {"a.txt": ["".join(TEXTS)], "a.md": ["# A"], "a.jsonl": TEXTS, "a.json": TEXTS}


def test_a_column_of_parquet(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.table({"body": TEXTS, "n": [1, 2, 3]}), path)
    assert read(path, key="body") == TEXTS
    with pytest.raises(UserError, match=r"a.parquet has no column text: name one with data.key=…, there are body, n"):
        read(path)
    with pytest.raises(UserError, match=r"Record 1 of .*a.parquet has 1 under n, which is not text"):
        read(path, key="n")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match=r"a.parquet is damaged \(.*\): restore it"):
        read(path, key="body")


def test_a_parquet_column_that_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    buffers = [pyarrow.py_buffer(part) for part in (b"\0\0\0\0\x04\0\0\0\x08\0\0\0", b"a\xffbcdefg")]
    parquet.write_table(pyarrow.table({"text": pyarrow.StringArray.from_buffers(2, *buffers)}), path)
    with pytest.raises(UserError, match=r"Record 1 of .*a.parquet is not UTF-8 text \(byte 1\): fix it"):
        read(path)
    assert read(path, encoding_errors="replace") == ["a\ufffdbc", "defg"]


def test_an_object_on_several_lines(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{\n  "text": "One."\n}\n')
    (tmp_path / "b.json").write_text('{"text": "One."}\n{"text": "Two."}\n')
    assert (read(tmp_path / "a.json"), read(tmp_path / "b.json")) == (["One."], ["One.", "Two."])


def test_utf16_is_named_as_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("A text.".encode("utf-16"))
    with pytest.raises(UserError, match=r"iconv -f utf-16 -t utf-8"):
        read(tmp_path / "a.txt")


def test_ends_of_lines_and_the_byte_order_mark_are_kept_or_normalised(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("\ufeffa\r\nb\rc\n\u2028d\u0085e\x0cf\r".encode())
    assert read(path) == ["a\nb\nc\n\u2028d\u0085e\x0cf\n"]
    assert read(path, normalize=False) == ["\ufeffa\r\nb\rc\n\u2028d\u0085e\x0cf\r"]
    lines = tmp_path / "a.jsonl"
    lines.write_bytes('\ufeff{"text": "a\\r\\nb"}\r\n{"text": "c"}'.encode())
    assert read(lines) == ["a\nb", "c"]
    assert read(lines, normalize=False) == ["a\r\nb", "c"]


@given(st.text(alphabet="a\r\n\ufeffé🙂\u2028", max_size=30), st.integers(1, 5))
def test_blocks_change_nothing(tmp_path_factory: pytest.TempPathFactory, text: str, size: int) -> None:
    path = tmp_path_factory.mktemp("a") / "a.txt"
    path.write_bytes(text.encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(readers, "BLOCK_BYTES", size)
        assert "".join(read(path, normalize=False)) == text
        whole = path.read_text(encoding="utf-8-sig")  # with universal newlines
        assert "".join(read(path)) == whole


def test_bytes_that_are_not_utf8_are_named_or_replaced(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(readers, "BLOCK_BYTES", 7)
    path = tmp_path / "latin.txt"
    path.write_bytes(b"caf\xc3\xa9 " * 10 + "caf\xe9.".encode("latin1"))
    with pytest.raises(UserError, match=r"latin.txt is not UTF-8 text \(byte 63 is 0xe9\).*iconv"):
        read(path)
    assert read(path, encoding_errors="replace") == ["café " * 10 + "caf\ufffd."]
    path.write_bytes(b"cut in two \xc3")
    with pytest.raises(UserError, match=r"byte 11 is 0xc3"):
        read(path)
    lines = tmp_path / "a.jsonl"
    lines.write_bytes(b'{"text": "a"}\n{"text": "\xff"}\n')
    with pytest.raises(UserError, match=r"a.jsonl is not UTF-8 text \(byte 24 is 0xff\)"):
        read(lines)
    assert read(lines, encoding_errors="replace") == ["a", "\ufffd"]


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_damaged_archive_is_named(suffix: str, tmp_path: Path) -> None:
    path = compressed(tmp_path / f"a.txt{suffix}", ("A line of some length.\n" * 5000).encode())
    whole = path.read_bytes()
    for damaged in (
        whole[: len(whole) // 2],
        b"this is not an archive at all",
        whole[:40] + b"\0\1\2" * 9 + whole[67:],
    ):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=rf"a.txt{suffix} is damaged \(.*\): restore it"):
            read(path)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", '{"text": "a"}\n{"txt": "b", "n": 1}', r"Record 2 of .* has no text under text: .*; it has txt, n"),
        ("a.jsonl", '{"text": "a"}\n{"text": ', r"is not JSON: .* in line 2, column 10"),
        ("a.json", '[{"text": 3}]', r"Record 1 of .* has 3 under text, which is not text"),
        ("a.json", '[{"text": "a"}, {"text"]', r"is not JSON: .* line 1, column 24, in or after record 2"),
        ("a.json", '[{"text": "half \\ud83d"}]', r"Record 1 of .* has half a character"),
        ("a.json", "[" * 100_000, r"cannot be read as JSON"),
        ("a.jsonl", "[" * 100_000, r"Line 1 of .* cannot be read as JSON"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(name: str, content: str, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=said):
        read(tmp_path / name)
