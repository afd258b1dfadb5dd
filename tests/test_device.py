"""Devices: what auto takes, and that it is measured once per machine."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from seqlab import device
from seqlab.errors import UserError
from seqlab.files import cache_folder

SAFE = ("32-true", "bf16-mixed")


@pytest.fixture(autouse=True)
def cpu_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests run the same where there is an accelerator."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


def measured(monkeypatch: pytest.MonkeyPatch, ratio: float) -> list[torch.dtype]:
    """Let bf16 be so many times as fast as fp32; the measurements made."""
    made: list[torch.dtype] = []

    def seconds(name: str, dtype: torch.dtype, width: int) -> float:
        made.append(dtype)
        return ratio if dtype == torch.float32 else 1.0

    monkeypatch.setattr(device, "time_matmul", seconds)
    monkeypatch.setattr(device, "is_busy", lambda: False)
    monkeypatch.setattr(device, "BUSY", set())
    return made


@pytest.mark.parametrize(("ratio", "precision"), [(1.49, "32-true"), (1.5, "bf16-mixed"), (5.2, "bf16-mixed")])
def test_auto_takes_bf16_where_it_is_one_and_a_half_times_as_fast(
    monkeypatch: pytest.MonkeyPatch, ratio: float, precision: str
) -> None:
    measured(monkeypatch, ratio)
    trainer = {"accelerator": "auto", "precision": "auto", "devices": 1}
    line = device.resolve_device(trainer, SAFE)
    assert trainer == {"accelerator": "cpu", "precision": precision, "devices": 1}
    assert line.startswith(f"device=auto: cpu in {precision} (bf16 measured at {ratio:.2g} times")
    assert "\n" not in line


def test_a_machine_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made = measured(monkeypatch, 2.0)
    assert [device.bf16_speedup("cpu") for _ in range(3)] == [2.0] * 3
    assert made == [torch.float32, torch.bfloat16]
    assert list(json.loads((cache_folder() / "precision.json").read_text()).values()) == [2.0]
    monkeypatch.setattr(device, "hardware_name", lambda: "another machine")
    measured(monkeypatch, 1.0)
    assert device.bf16_speedup("cpu") == 1.0


def test_a_gpu_is_measured_with_many_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """On an H100 a product of 256 x 768 took as long as its launch: "1.4 times the speed", where it is 15 with 4096 rows."""
    made = measured(monkeypatch, 2.0)
    assert device.bf16_speedup("cpu") == 2.0
    measured(monkeypatch, 15.0)
    assert device.bf16_speedup("cuda") == 15.0
    assert len(made) == 2
    (of_cpu, of_gpu) = json.loads((cache_folder() / "precision.json").read_text())
    assert of_cpu.endswith("cpu, 256 x 768")
    assert of_gpu.endswith("cuda, 4096 x 768")


def test_a_product_of_the_models_own_width_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    measured(monkeypatch, 2.0)
    trainer = {"accelerator": "cpu", "precision": "auto", "devices": 1}
    device.resolve_device(trainer, SAFE, width=device.model_width({"n_embd": 96, "n_layer": 2}))
    assert next(iter(json.loads((cache_folder() / "precision.json").read_text()))).endswith("cpu, 256 x 96")


def test_on_a_busy_machine_nothing_is_measured_and_fp32_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    made = measured(monkeypatch, 9.0)
    monkeypatch.setattr(device, "is_busy", lambda: True)
    trainer = {"accelerator": "auto", "precision": "auto", "devices": 1}
    assert "busy" in device.resolve_device(trainer, SAFE)
    assert (trainer["precision"], made) == ("32-true", [])
    monkeypatch.setattr(device, "is_busy", lambda: False)
    assert device.choose_precision("cpu", SAFE, 768)[0] == "32-true"  # the same for all jobs of a sweep
    monkeypatch.setattr(device, "BUSY", set())
    assert device.choose_precision("cpu", SAFE, 768)[0] == "bf16-mixed"  # another process: nothing was remembered
    monkeypatch.setattr(device, "is_busy", lambda: True)
    assert device.choose_precision("cpu", SAFE, 768)[0] == "bf16-mixed"  # known from before


def test_a_machine_that_does_nothing_is_not_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device.psutil, "cpu_percent", lambda seconds: 1.0)
    assert not device.is_busy()


def test_other_processes_make_a_machine_busy() -> None:
    orphans = subprocess.run(  # of another parent
        ["sh", "-c", f"for i in 1 2; do {sys.executable} -c 'while True: pass' >/dev/null 2>&1 & echo $!; done"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    try:
        time.sleep(0.5)
        assert device.is_busy(0.5)
    finally:
        for pid in orphans:
            os.kill(int(pid), signal.SIGKILL)


@pytest.mark.parametrize(
    ("model", "accelerator", "enough"),
    [
        ({"n_embd": 16}, "cpu", 1),
        ({"hidden_size": 192}, "cpu", 3),
        ({"n_embd": 768}, "cpu", 12),
        ({"n_embd": 16}, "cuda", None),
        ({"depth": 3}, "cpu", None),
    ],
)
def test_a_small_model_takes_few_threads(model: dict, accelerator: str, enough: int | None, monkeypatch) -> None:
    data = {"batch_size": 8, "context_length": 16}
    assert device.enough_threads({"model": model, "data": data, "trainer": {"accelerator": accelerator}}) == enough
    taken = []
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    monkeypatch.setattr(torch, "set_num_threads", taken.append)
    device.setup_process(None, 1, enough)
    assert taken == ([enough] if enough and enough < 8 else [])
    device.setup_process(5, 1, enough)
    assert taken[-1] == 5


def test_a_task_for_which_only_fp32_is_safe_measures_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    made = measured(monkeypatch, 9.0)
    trainer = {"accelerator": "auto", "precision": "auto", "devices": 1}
    assert device.resolve_device(trainer, ("32-true",)) == "device=auto: cpu in 32-true"
    assert (trainer["precision"], made) == ("32-true", [])


def test_fixed_devices_are_left_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    made = measured(monkeypatch, 9.0)
    trainer = {"accelerator": "cpu", "precision": "32-true", "devices": 1}
    assert device.resolve_device(trainer, SAFE) is None
    assert (trainer, made) == ({"accelerator": "cpu", "precision": "32-true", "devices": 1}, [])


def test_a_typed_precision_is_kept_with_an_automatic_device() -> None:
    trainer = {"accelerator": "auto", "precision": "64-true", "devices": 1}
    assert device.resolve_device(trainer, SAFE) == "device=auto: cpu in 64-true"
    assert trainer == {"accelerator": "cpu", "precision": "64-true", "devices": 1}


@pytest.mark.parametrize("name", ["cuda", "gpu", "mps"])
def test_an_accelerator_that_is_not_there_is_refused(name: str) -> None:
    with pytest.raises(UserError, match=f"device={name}.*device=cpu or auto"):
        device.resolve_device({"accelerator": name, "precision": "32-true"}, SAFE)


def test_accelerators_and_their_torch_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    assert device.torch_device("auto") == torch.device("cpu")
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match=r"device=gpu.*device=cpu or auto"):
            device.torch_device("gpu")
    monkeypatch.setattr(device, "available_accelerators", lambda: ["cpu", "cuda", "gpu"])
    assert device.torch_device("gpu") == torch.device("cuda")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert device.best_accelerator() == "mps"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert device.best_accelerator() == "cuda"


def test_the_measurement_is_short_and_positive() -> None:
    assert 0 < device.time_matmul("cpu", torch.float32, 64, budget=0.001) < 1
    assert device.hardware_name()


def test_a_process_is_set_up_for_training() -> None:
    threads = torch.get_num_threads()
    try:
        device.setup_process(1)
        assert torch.get_num_threads() == 1
        device.setup_process(None)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("devices", [0, -2, "two", 1.5, True, [], ["a"], None])
def test_what_counts_no_devices_is_refused(devices: object) -> None:
    with pytest.raises(UserError, match="is not a number of devices"):
        device.resolve_device({"accelerator": "cpu", "precision": "32-true", "devices": devices}, SAFE)


def test_ddp_takes_processes_where_there_is_no_gpu_and_all_gpus_where_there_are(monkeypatch) -> None:
    node = {"accelerator": "auto", "precision": "auto", "devices": "auto", "strategy": "ddp"}
    on_cpu, on_gpus, on_one = dict(node), dict(node), dict(node)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device.resolve_device(on_cpu, SAFE) == "device=ddp: 2 x cpu in 32-true"
    assert (
        device.num_local_processes(on_cpu),
        device.num_local_processes({"devices": [0, 3]}),
        device.num_local_processes({"devices": "auto"}),
    ) == (
        2,
        2,
        1,
    )
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    assert device.resolve_device(on_gpus, SAFE) == "device=ddp: 8 x cuda in bf16-mixed"
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert device.resolve_device(on_one, SAFE) == "device=ddp: 1 x cuda in bf16-mixed"
    assert (on_gpus["strategy"], on_one["strategy"]) == ("ddp", "auto")  # a group of one would outlive the run


@pytest.mark.parametrize(("accelerator", "devices"), [("cuda", 2), ("cuda", [1]), ("cpu", 1000)])
def test_more_devices_than_there_are_are_refused(
    accelerator: str, devices: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    node = {"accelerator": accelerator, "precision": "32-true", "devices": devices, "strategy": "ddp"}
    with pytest.raises(UserError, match="this machine"):
        device.resolve_device(dict(node), SAFE)
    device.resolve_device(node | {"num_nodes": 2}, SAFE)  # of which others may have more


def test_processes_share_the_threads_once(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # so that it is given back
    monkeypatch.delenv("OMP_NUM_THREADS")
    try:
        torch.set_num_threads(8)
        device.setup_process(None, processes=2)
        assert torch.get_num_threads() == 4
        device.setup_process(None, processes=2)  # as in a process that the first one started
        assert torch.get_num_threads() == 4
        device.setup_process(3, processes=2)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)


def test_a_time_between_validations_needs_one_clock() -> None:
    node = {
        "accelerator": "cpu",
        "precision": "32-true",
        "devices": 2,
        "strategy": "ddp",
        "val_check_interval": "00:00:00:01",
    }
    with pytest.raises(UserError, match="is a time"):
        device.resolve_device(node, SAFE)
    assert device.resolve_device(node | {"devices": 1}, SAFE) is None
