"""metrics.jsonl: a line a step, also of a run that was killed and resumed."""

import json
from pathlib import Path

from seqlab.runs.metrics_log import FILE_NAME, MetricsLog, read_metrics


def test_a_step_has_one_line(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path)
    log.rewind(0)
    log.add(1, {"val/loss": 3.123456789})
    log.add(1, {"train/loss": 4.0})
    log.add(2, {"train/loss": 3.5})
    log.add(2, {"train/loss": 3})
    expected = [{"step": 1, "val/loss": 3.123456789, "train/loss": 4.0}, {"step": 2, "train/loss": 3}]
    assert [json.loads(line) for line in (tmp_path / FILE_NAME).read_text().splitlines()] == expected
    assert read_metrics(tmp_path) == expected


def test_what_was_measured_after_the_checkpoint_is_forgotten(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path)
    log.rewind(0)
    for step, loss in ((1, 3.0), (2, 2.0), (3, 9.0)):
        log.add(step, {"val/loss": loss})
    with open(tmp_path / FILE_NAME, "a") as file:
        file.write('{"step": 4, "val')  # killed while writing
    assert len(read_metrics(tmp_path)) == 3
    resumed = MetricsLog(tmp_path)
    resumed.rewind(2)
    resumed.add(2, {"train/loss": 1.0})
    resumed.add(3, {"val/loss": 1.5})
    assert read_metrics(tmp_path) == [
        {"step": 1, "val/loss": 3.0},
        {"step": 2, "val/loss": 2.0, "train/loss": 1.0},
        {"step": 3, "val/loss": 1.5},
    ]
