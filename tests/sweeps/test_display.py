"""The one display of a sweep, on a terminal."""

import io
from pathlib import Path

from rich.console import Console

from seqlab.files import write_json
from seqlab.runs.run_info import new_run_info
from seqlab.sweeps import display
from seqlab.sweeps.display import Display
from seqlab.sweeps.manifest import Job, Sweep

OBJECTIVE = {"metric": "val/loss", "mode": "min"}


def test_done_running_failed_time_left_and_the_best_so_far(tmp_path: Path, monkeypatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(
        display, "Console", lambda **options: Console(file=screen, force_terminal=True, width=80, **options)
    )
    jobs = [Job(number, f"{number:03d}-seed_{number}", [], seconds=10.0) for number in range(5)]
    for job, loss in zip(jobs, (0.5, 0.25, 0.75), strict=False):
        job.state = "done"
        (tmp_path / job.name).mkdir()
        info = new_run_info(objective=OBJECTIVE, metrics={"last": {}, "best": {"val/loss": loss}})
        write_json(tmp_path / job.name / "run.json", info)
    with Display(Sweep(tmp_path, "", [], "", {}, {}, "", jobs=jobs), 5, 1) as shown:
        for job in jobs[:2]:
            shown.job_ended(job)
        jobs[2].state, jobs[2].error = "failed", "RuntimeError: the roof is on fire"
        shown.job_ended(jobs[2])
        shown.update([jobs[3]])
        shown.bar.refresh()
    text = screen.getvalue()
    assert "[2/5] 001-seed_1  done  val/loss 0.25  10.0 s" in text
    assert "[3/5] 002-seed_2  failed  RuntimeError: the roof is on fire" in text
    for part in ("3/5", "1 running", "1 failed", "0:20 left", "best 0.25 (001)"):
        assert part in text
