"""How jobs share a machine: its GPUs one each, its threads evenly."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from seqlab import device
from seqlab.sweeps import local, process
from seqlab.sweeps.local import LocalLauncher, count_slots
from seqlab.sweeps.manifest import Job, Sweep
from seqlab.sweeps.process import nth_visible_gpu


class Started:
    """A job that was started, and with what."""

    def __init__(self, context: Any, run: Path, threads: int | None, gpu: int | None) -> None:
        self.threads, self.gpu, self.over = threads, gpu, False

    def has_ended(self) -> bool:
        """As the test says."""
        return self.over


def config(accelerator: str = "cpu", devices: int = 1, threads: int | None = None) -> dict[str, Any]:
    """What matters of a run's config here."""
    trainer = {"accelerator": accelerator, "devices": devices, "strategy": "auto"}
    return {"threads": threads, "trainer": trainer, "model": {}, "data": {}}


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Starts jobs of a config on a machine with so many GPUs and cores."""

    def start(
        count: int, of: dict[str, Any], gpus: int = 0, cores: int = 8, **settings: Any
    ) -> tuple[LocalLauncher, Any]:
        monkeypatch.setattr(device, "gpu_count", lambda: gpus)
        monkeypatch.setattr(device, "available_cores", lambda: cores)
        monkeypatch.setattr(local, "JobProcess", Started)
        monkeypatch.setattr(local, "start_fork_server", lambda: None)
        sweep = Sweep(tmp_path, "", [], "", {}, {}, "")
        launcher = LocalLauncher([of], **settings)

        def next_job(number: int) -> Any:
            job = Job(number, f"{number:03d}", [])
            (tmp_path / job.name).mkdir(exist_ok=True)
            (tmp_path / job.name / "config.yaml").write_text(yaml.safe_dump(of))
            return launcher.start_job(sweep, job)

        return launcher, [next_job(number) for number in range(count)] + [next_job]

    return start


def test_each_job_has_a_gpu_of_its_own_and_a_free_one_is_taken_again(started: Any) -> None:
    launcher, (*jobs, next_job) = started(4, config("cuda"), gpus=4)
    assert launcher.slots == 4
    assert [job.gpu for job in jobs] == [0, 1, 2, 3]
    jobs[2].over = True
    assert next_job(4).gpu == 2


def test_one_gpu_or_a_job_of_several_is_left_as_it_is(started: Any) -> None:
    assert [job.gpu for job in started(1, config("cuda"), gpus=1)[1][:-1]] == [None]
    assert count_slots([config("cuda", devices=2)]) == 1


def test_a_job_sees_its_share_of_what_the_sweep_sees() -> None:
    assert nth_visible_gpu(1, None) == nth_visible_gpu(1, "") == "1"
    assert nth_visible_gpu(1, "2, 3") == "3"
    assert process.nth_visible_gpu(0, "GPU-aa,GPU-bb") == "GPU-aa"


@pytest.mark.parametrize(
    ("of", "settings", "at_once", "threads"),
    [
        (config(), {}, 1, 8),
        (config(threads=2), {}, 4, 2),
        (config(), {"jobs": 4}, 4, 2),
        (config(), {"jobs": 16}, 16, 1),
        (config() | {"model": {"n_embd": 128}, "data": {"batch_size": 2, "context_length": 64}}, {}, 4, 2),
    ],
)
def test_threads_are_divided(of: dict, settings: dict, at_once: int, threads: int, started: Any) -> None:
    launcher, (job, _) = started(1, of, **settings)
    assert (launcher.slots, job.threads) == (at_once, threads)
