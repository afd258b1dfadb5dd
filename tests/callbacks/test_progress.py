"""What a person sees while a run trains: lines of losses, signs of life without a terminal, nothing broken on one."""

import json
import re
from pathlib import Path

import pytest

from seqlab.callbacks import progress
from terminal import on_terminal

LINE = r"step (\d+)/(\d+)  train ([\d.]+)(?:  val ([\d.]+))?  ([\d,.]+) tokens/s  \d+:\d\d left"


def find_lines(out: str, pattern: str = LINE) -> list[re.Match[str]]:
    """The lines that match a pattern from end to end."""
    return [match for line in out.splitlines() if (match := re.fullmatch(pattern, line))]


def test_a_line_after_each_validation(seqlab, tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0)
    answer = seqlab(*tiny, "trainer.max_steps=-1", "trainer.max_epochs=2", "trainer.val_check_interval=0.5")
    assert answer.status == 0, answer.err
    found = find_lines(answer.out)
    (run,) = tmp_path.glob("runs/*/*")
    measured = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    steps = json.loads((run / "run.json").read_text())["steps"]
    assert [(int(line[1]), float(line[4])) for line in found if line[4]] == [
        (point["step"], pytest.approx(point["val/loss"], rel=1e-3)) for point in measured if "val/loss" in point
    ]
    assert {int(line[2]) for line in found} == {steps} == {int(found[-1][1])}  # the last line is that of the last step
    assert float(found[-1][3]) == pytest.approx(measured[-1]["train/loss"], rel=1e-3)  # the mean over the epoch


def test_a_line_each_epoch_where_nothing_is_validated(seqlab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0)
    answer = seqlab("train", "data.val_fraction=0", "trainer.max_epochs=3", "device=cpu")
    pattern = r"step (\d)/3  train ([\d.]+)  ([\d,.]+) (steps/s|s/step)  \d+:\d\d left"
    assert [line[1] for line in find_lines(answer.out, pattern)] == ["1", "2", "3"]


def test_fast_validations_do_not_flood_the_terminal(seqlab, tmp_path: Path) -> None:
    answer = seqlab("train", "trainer.max_epochs=20", "device=cpu")
    assert len(find_lines(answer.out, "step .*")) < 10
    assert json.loads(next(tmp_path.glob("runs/*/*/run.json")).read_text())["steps"] == 20


def test_without_a_terminal_there_is_a_sign_now_and_then(seqlab, tiny: list[str], monkeypatch) -> None:
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_SIGNS", 0)
    assert len(find_lines(seqlab(*tiny).out, r"step \d/2  loss [\d.]+ .* left")) == 2
    assert find_lines(seqlab("evaluate", "run=last", "split=val").out, r"batch \d+/\d+  \d+:\d\d left")


def fits(line: str) -> bool:
    """True for a line of 80 columns, or one with a path for which they are too few."""
    return len(line) <= 80 or max(map(len, line.split())) > 60


def test_eighty_columns_break_no_word(seqlab, story: Path, tmp_path: Path) -> None:
    assert seqlab("train", "-m", "model=rnn,gru", "trainer.max_epochs=1", "device=cpu").status == 0
    shown = on_terminal("runs", folder=tmp_path)
    lines = shown.splitlines()
    assert max(map(len, lines)) <= 80
    (sweep,) = tmp_path.glob("runs/*/*")
    time = sweep.name[:8]
    assert {line.split()[0] for line in lines[1:3]} == {f"{time}/000", f"{time}/001"}
    assert all("val/loss " in line for line in lines[1:3])
    for name in (f"{time}/001", "best", str(sweep)):
        assert seqlab("evaluate", f"run={name}", "split=val").status == 0  # what is shown can be typed

    assert seqlab("train", "model=rnn", "trainer.max_epochs=1", "device=cpu", "name=a-name-of-some-length").status == 0
    shown = on_terminal("runs", "sort=train/loss", folder=tmp_path)
    assert max(map(len, shown.splitlines())) <= 80
    assert "without     seed, data" in shown
    assert "a-name-of-some-length" in shown

    shown = on_terminal("train", "resume=last", "trainer.max_epochs=3", folder=tmp_path)
    assert "nan" not in shown

    shown = on_terminal("train", "resume=last", "trainer.max_epochs=3", "data.contxt=3", folder=tmp_path)
    assert shown.startswith("composing …\n")
    assert {"data.contxt", "config."} <= set(shown.split())
    assert all(map(fits, shown.splitlines()))

    shown = on_terminal("train", "data=text", f"data.path={story}", "tokenizer=byte", "explain=true", folder=tmp_path)
    assert all(map(fits, shown.splitlines()))
    assert "lr: 0.0004" in shown
