"""Splits that have files of their own: what is read, recorded, moved and refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seqlab.data.instruction import InstructionDataModule
from seqlab.tokenizers.byte import ByteTokenizer

RUN = ["data=instruction", "data.path=train.json", "data.val_path=val.json", "tokenizer=byte", "model=gpt_mini"]
RUN += ["model.n_layer=1", "model.n_head=2", "model.n_embd=16", "model.dropout=0", "data.batch_size=4"]
RUN += ["data.context_length=256", "device=cpu", "callbacks.samples=null", "trainer.max_epochs=2"]


def write_records(file: Path, name: str, count: int) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps([{"instruction": f"{name} {number}", "output": "yes"} for number in range(count)]))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three files of records."""
    for name, count in (("train", 16), ("val", 5), ("test", 3)):
        write_records(tmp_path / f"{name}.json", name, count)
    return tmp_path


def sizes(folder: Path, **options: Any) -> tuple[dict[str, int], list[str]]:
    data = InstructionDataModule(str(folder / "train.json"), ByteTokenizer(), **options)
    data.setup()
    return {split: len(part) for split, part in data.splits.items()}, [file.name for file in data.files]  # type: ignore[arg-type]


def test_each_split_has_its_files(folder: Path) -> None:
    val, test = str(folder / "val.json"), str(folder / "test.json")
    assert sizes(folder, val_path=val, test_path=test) == (
        {"train": 16, "val": 5, "test": 3},
        ["train.json", "val.json", "test.json"],
    )
    assert sizes(folder, val_path=val, test_fraction=0.25)[0] == {"train": 12, "val": 5, "test": 4}
    assert sizes(folder, test_path=[test, val], val_fraction=0.25)[0] == {"train": 12, "val": 4, "test": 8}


def test_errors_name_the_file_and_the_key(folder: Path, seqlab: Callable) -> None:
    (folder / "long.json").write_text(json.dumps([{"instruction": "a" * 400, "output": "yes"}]))
    answer = seqlab("train", *RUN, "data.val_path=long.json")
    assert answer.status == 1
    assert "val records of long.json are longer" in answer.err
    answer = seqlab("train", *RUN, "data.test_path=nowhere.json")
    assert answer.status == 1
    assert "data.test_path=<file>" in answer.err
    (folder / "empty.json").write_text("[]")
    assert seqlab("train", *RUN, "data.val_path=empty.json").status == 1


def test_a_run_with_files_of_splits_resumes_where_they_are_now(folder: Path, seqlab: Callable) -> None:
    words = [*RUN, "data.test_path=test.json"]
    assert seqlab("train", *words, "paths.runs=whole").status == 0
    assert seqlab("train", *words, "trainer.max_steps=3").status == 0
    info = json.loads(next(folder.glob("runs/*/*/run.json")).read_text())
    assert [Path(file).name for file in info["data"]] == ["train.json", "val.json", "test.json"]
    (folder / "moved").mkdir()
    (folder / "val.json").rename(folder / "moved" / "val.json")
    answer = seqlab("train", "resume=last", "trainer.max_steps=-1")
    assert answer.status == 1
    assert "data.val_path=<file>" in answer.err
    write_records(folder / "other.json", "other", 5)
    answer = seqlab("train", "resume=last", "trainer.max_steps=-1", "data.val_path=other.json")
    assert answer.status == 1
    assert "has no file with the bytes of" in answer.err
    answer = seqlab("train", "resume=last", "trainer.max_steps=-1", "data.val_path=[moved/val.json,other.json]")
    assert answer.status == 1
    assert "without one of those that are there now" in answer.err
    answer = seqlab("train", "resume=last", "trainer.max_steps=-1", "data.val_path=moved/val.json")
    assert answer.status == 0, answer.err
    metrics = [
        json.loads(next(folder.glob(f"{runs}/*/*/run.json")).read_text())["metrics"]["last"]
        for runs in ("whole", "runs")
    ]
    assert metrics[0] == metrics[1]
    assert seqlab("evaluate", "run=last", "split=val").status == 0


def test_paths_of_splits_are_taken_as_they_are_typed(folder: Path, seqlab: Callable) -> None:
    write_records(folder / "a [b], c's.json", "val", 4)
    answer = seqlab("train", *RUN, "data.val_path=a [b], c's.json", "trainer.max_steps=2")
    assert answer.status == 0, answer.err
    info = json.loads(next(folder.glob("runs/*/*/run.json")).read_text())
    assert [Path(file).name for file in info["data"]] == ["train.json", "a [b], c's.json"]


def test_the_objective_knows_a_validation_of_its_own(folder: Path, seqlab: Callable) -> None:
    del folder
    answer = seqlab("train", *RUN, "data.val_fraction=0", "objective.metric=val/loss", "trainer.max_steps=2")
    assert answer.status == 0, answer.err
