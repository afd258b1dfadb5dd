"""`seqlab reproduce` runs the same thing again, and says whether it came to the same."""

import json
import shutil
from pathlib import Path

from seqlab.runs.run_info import read_run_info, update_run_info


def runs(folder: Path) -> list[Path]:
    """All runs, the first one first."""
    return sorted(folder.glob("runs/*/*"), key=lambda run: read_run_info(run)["started"])


def test_the_same_again_is_the_same_bit_for_bit(seqlab, tiny: list[str], tmp_path: Path) -> None:
    assert seqlab(*tiny, "model.dropout=0.3").status == 0
    answer = seqlab("reproduce", "run=last")
    assert answer.status == 0, answer.err
    assert "equal bit for bit" in answer.out
    one, other = runs(tmp_path)
    assert read_run_info(one)["metrics"] == read_run_info(other)["metrics"]
    assert (one / "config.yaml").read_text() == (other / "config.yaml").read_text()
    assert read_run_info(one)["overrides"] == read_run_info(other)["overrides"]


def test_what_differs_is_said_with_what_may_explain_it(seqlab, tiny: list[str], story: Path, tmp_path: Path) -> None:
    assert seqlab(*tiny).status == 0
    (run,) = runs(tmp_path)
    story.write_text(story.read_text().replace("river", "rover"))
    update_run_info(run, versions=read_run_info(run)["versions"] | {"torch": "1.0"})
    answer = seqlab("reproduce", f"run={run}")
    assert answer.status == 1
    assert "differs     last train/loss: " in answer.out
    assert "possible cause: versions torch: 1.0 -> 2." in answer.out
    assert f"possible cause: data {story}: " in answer.out


def test_a_chance_that_nothing_explains_is_called_that(seqlab, tiny: list[str], tmp_path: Path) -> None:
    assert seqlab(*tiny).status == 0
    (run,) = runs(tmp_path)
    metrics = read_run_info(run)["metrics"]
    metrics["last"]["train/loss"] += 1e-7
    update_run_info(run, metrics=metrics)
    answer = seqlab("reproduce", f"run={run}")
    assert answer.status == 1
    assert "(-1e-07)" in answer.out
    assert "something in this run is not deterministic" in answer.out


def test_what_is_not_done_or_cannot_be_done_again_is_refused(
    seqlab, tiny: list[str], story: Path, tmp_path: Path
) -> None:
    assert seqlab(*tiny).status == 0
    (run,) = runs(tmp_path)
    update_run_info(run, status="interrupted")
    answer = seqlab("reproduce", f"run={run}")
    assert answer.status == 1
    assert f"finish it with resume={run}" in answer.err
    assert len(runs(tmp_path)) == 1
    update_run_info(run, status="done")
    story.unlink()
    answer = seqlab("reproduce", f"run={run}")
    assert answer.status == 1
    assert "did not finish" in answer.err
    assert seqlab("reproduce", "run=nowhere").status == 1
    shutil.rmtree(run)
    assert json.dumps([str(left) for left in tmp_path.glob("runs/*/*")]) == "[]"


def test_a_resumed_run_that_comes_out_equal_has_no_cause_to_name(seqlab, tiny: list[str], tmp_path: Path) -> None:
    assert seqlab(*tiny).status == 0
    assert seqlab("train", "resume=last", "trainer.max_steps=6").status == 0
    answer = seqlab("reproduce", "run=last")
    assert answer.status == 0, answer.out
    assert "equal bit for bit" in answer.out
    assert "cause" not in answer.out
