"""What `device=auto` takes: the best accelerator, and a faster precision where it is safe and measured to pay."""

import ctypes
import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

import torch

from seqlab.errors import UserError
from seqlab.files import cache_folder, lock_file

MIN_BF16_SPEEDUP = 1.5  # a lower precision must be this many times as fast as fp32


def best_accelerator() -> str:
    """The best accelerator of this machine: cuda, mps or cpu."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def available_accelerators() -> list[str]:
    """The accelerators that this machine has, by Lightning's names."""
    gpus = ["cuda", "gpu"] if torch.cuda.is_available() else []
    return ["cpu", *gpus, *(["mps"] if torch.backends.mps.is_available() else [])]


def gpu_count() -> int:
    """How many NVIDIA GPUs this machine has."""
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def torch_device(name: str) -> torch.device:
    """The torch device for an accelerator's name, `auto` included."""
    return torch.device(best_accelerator() if name == "auto" else {"gpu": "cuda"}.get(name, name))


def hardware_name() -> str:
    """The processor or GPU by its name."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    cpuinfo = Path("/proc/cpuinfo")
    names = (
        [line.split(":")[1].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        if cpuinfo.exists()
        else []
    )
    return names[0] if names else platform.processor() or platform.machine()


DEFAULT_PRECISION = {
    "cuda": "bf16-mixed",
    "mps": "32-true",
    "cpu": "32-true",
}  # the precision of device=<accelerator>, and of ddp


def num_local_processes(trainer: dict) -> int:
    """How many processes a trainer node wants on this machine."""
    devices = trainer["devices"]
    return len(devices) if isinstance(devices, list) else devices if isinstance(devices, int) and devices > 0 else 1


def setup_process(threads: int | None, processes: int = 1) -> None:
    """Set up this process for training: its threads, its share of them by default, and memory that stays with it.

    glibc gives large blocks back to the kernel when they are freed, and each step of a language model on a CPU faults
    all its activations in again. Kept, a step of GPT-2 small is a seventh shorter (benchmarks/memory.py).
    """
    if processes > 1 and "OMP_NUM_THREADS" not in os.environ:  # else a launcher has divided them already
        threads = threads or max(1, torch.get_num_threads() // processes)
        os.environ["OMP_NUM_THREADS"] = str(threads)  # or Lightning would choose a number of its own
    if threads:
        torch.set_num_threads(threads)
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):  # glibc's; its limits are mmap_max (-4) and trim_threshold (-1)
            libc.mallopt(-4, 0)
            libc.mallopt(-1, -1)


def resolve_device(trainer: dict, safe: tuple[str, ...], remote: bool = False) -> str | None:
    """Replace `auto` in a trainer node's accelerator and precision in place; the line that says what was taken, if any.

    `safe` are the precisions that the task calls safe, fp32 first. A device that is named may be `remote`.
    """
    chosen = trainer["accelerator"]
    if chosen != "auto" and chosen not in available_accelerators() and not (remote and chosen in ("cuda", "gpu")):
        raise UserError(f"device={chosen}: this machine has no such device; take device={best_accelerator()} or auto.")
    if chosen == "gpu":
        trainer["accelerator"] = "cuda"
    check_devices(trainer["devices"])
    automatic = "auto" in (chosen, trainer["precision"])
    parallel, why = trainer.get("strategy") == "ddp", ""
    if chosen == "auto":
        trainer["accelerator"] = "cpu" if parallel and best_accelerator() == "mps" else best_accelerator()
    if trainer["devices"] in ("auto", -1):
        trainer["devices"] = (gpu_count() if trainer["accelerator"] == "cuda" else 0) or (2 if parallel else 1)
    if num_local_processes(trainer) > 1 and isinstance(trainer.get("val_check_interval"), str | dict):
        raise UserError(
            f"trainer.val_check_interval={trainer['val_check_interval']} is a time, and the clocks of "
            f"{num_local_processes(trainer)} processes differ: give a number of batches."
        )
    if trainer["precision"] == "auto":
        if parallel:
            trainer["precision"] = DEFAULT_PRECISION[trainer["accelerator"]]
        else:
            trainer["precision"], why = choose_precision(trainer["accelerator"], safe)
    if not automatic:
        return None
    if parallel:
        return f"device=ddp: {num_local_processes(trainer)} x {trainer['accelerator']} in {trainer['precision']}"
    return f"device=auto: {trainer['accelerator']} in {trainer['precision']}{why}"


def check_devices(devices: Any) -> None:
    """Refuse what counts no devices. Raises Mistake."""
    several = devices if isinstance(devices, list) else []
    counted = type(devices) is int and (devices > 0 or devices == -1)
    if not (counted or devices == "auto" or (several and all(type(number) is int for number in several))):
        raise UserError(
            f"trainer.devices={devices} counts no devices: take a number such as 2, auto for all, or GPUs by number: [0,1]."
        )


def choose_precision(name: str, safe: tuple[str, ...]) -> tuple[str, str]:
    """The precision to take, and why."""
    if "bf16-mixed" not in safe or name == "mps":
        return "32-true", ""
    ratio = bf16_speedup(name)
    verdict = "bf16-mixed" if ratio >= MIN_BF16_SPEEDUP else "32-true"
    return verdict, f" (bf16 measured at {ratio:.2g} times the speed of fp32)"


def bf16_speedup(name: str) -> float:
    """How many times as fast as fp32 bfloat16 multiplies matrices here; measured once per machine, and kept."""
    file = cache_folder() / "precision.json"
    machine = f"{hardware_name()}, {torch.get_num_threads()} threads, torch {torch.__version__}, {name}"
    with lock_file(file):
        known = json.loads(file.read_text()) if file.exists() else {}
        if machine not in known:
            known[machine] = time_matmul(name, torch.float32) / time_matmul(name, torch.bfloat16)
            partial = file.with_name("precision.json.part")
            partial.write_text(json.dumps(known, indent=2))
            partial.replace(file)
    return known[machine]


def time_matmul(name: str, dtype: torch.dtype, budget: float = 0.03) -> float:
    """The shortest time of a product (256, 768) by (768, 768), of GPT-2 small's width, repeated for `budget` seconds."""
    left, right = torch.ones(256, 768, dtype=dtype, device=name), torch.ones(768, 768, dtype=dtype, device=name)
    times: list[float] = []
    while len(times) < 2 or sum(times[1:]) < budget:
        start = time.perf_counter()
        (left @ right)[0, 0].item()  # item() waits for the device
        times.append(time.perf_counter() - start)
    return min(times[1:])  # the first one warmed up
