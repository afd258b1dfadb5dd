"""Devices: what this machine has, what `device=auto` takes, and how a process is set up for training."""

import ctypes
import json
import os
import platform
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import psutil
import torch
from annotated_types import Ge, Le

from seqlab.errors import UserError
from seqlab.files import cache_folder, lock_file, write_json

MIN_BF16_SPEEDUP = 1.5  # bfloat16 must be this many times as fast as fp32
MAX_THREADS = 1024  # more are a slip, and may take all that the system has
MAX_PROCESSES_PER_CORE = 4
FP16_PRECISIONS = ("16", "16-mixed", "16-true")  # Lightning trains in bfloat16 in their place on a CPU
# rows of the product that is timed: a GPU takes longer to start a small one than to do it
PROBE_ROWS = {"cpu": 256, "cuda": 4096}
PROBE_WIDTH = 768  # of a model whose width is not known
WIDTH_KEYS = ("n_embd", "hidden_size", "width")  # of a model's node
ACTIVATIONS_PER_THREAD = 8192  # of a layer: with fewer a thread costs as much as it does (benchmarks/devices.py)
BUSY_CORES = 0.5  # that other processes use: what is timed beside them says nothing
BUSY: set[tuple[str, int]] = set()  # what could not be measured in this process
DEFAULT_PRECISION = {"cuda": "bf16-mixed", "mps": "32-true", "cpu": "32-true"}  # of device=<accelerator> and device=ddp


def best_accelerator() -> str:
    """The best accelerator of this machine: cuda, mps or cpu."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def available_accelerators() -> list[str]:
    """The accelerators of this machine by Lightning's names."""
    cuda = ["cuda", "gpu"] if torch.cuda.is_available() else []
    return ["cpu", *cuda, *(["mps"] if torch.backends.mps.is_available() else [])]


def gpu_count() -> int:
    """The number of NVIDIA GPUs of this machine."""
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def torch_device(name: str) -> torch.device:
    """The torch device for an accelerator's name, `auto` included. Raises UserError for one that is not there."""
    check_accelerator(name, remote=False)
    return torch.device(best_accelerator() if name == "auto" else {"gpu": "cuda"}.get(name, name))


def hardware_name() -> str:
    """The name of the GPU or the processor."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    cpuinfo = Path("/proc/cpuinfo")  # Linux: `platform` does not know the model
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def num_local_processes(trainer: dict[str, Any]) -> int:
    """The number of processes that a trainer node wants on this machine."""
    devices = trainer["devices"]
    return len(devices) if isinstance(devices, list) else devices if isinstance(devices, int) and devices > 0 else 1


def model_width(model: dict[str, Any]) -> int | None:
    """The width of a model's layers, by the usual names in its node; None if it has none of them."""
    widths = [model[key] for key in WIDTH_KEYS if isinstance(model.get(key), int)]
    return max(widths, default=None)


def enough_threads(config: dict[str, Any]) -> int | None:
    """The threads that a layer of the model is work for; None if that is not known, and on a GPU."""
    data, width = config["data"], model_width(config["model"])
    if width is None or config["trainer"]["accelerator"] != "cpu":
        return None
    positions = data.get("batch_size", 1) * (data.get("context_length") or data.get("window") or 1)
    return max(1, positions * width // ACTIVATIONS_PER_THREAD)


def setup_process(
    threads: Annotated[int, Ge(1), Le(MAX_THREADS)] | None, processes: int = 1, enough: int | None = None
) -> None:
    """Set the threads of this process (null: its share, or those that are `enough`); make glibc keep memory that is freed.

    glibc returns large freed blocks to the kernel, so that each step of a language model on a CPU faults all its
    activations in again. Kept, a step of GPT-2 small takes a seventh less time (benchmarks/memory.py).
    """
    if processes > 1 and "OMP_NUM_THREADS" not in os.environ:  # otherwise a launcher has divided them already
        threads = threads or max(1, torch.get_num_threads() // processes)
        os.environ["OMP_NUM_THREADS"] = str(threads)  # or Lightning would choose a number of its own
    if not threads and enough and enough < torch.get_num_threads():
        threads = enough
    if threads:
        torch.set_num_threads(threads)
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):  # only glibc has it: M_MMAP_MAX is -4, M_TRIM_THRESHOLD is -1
            libc.mallopt(-4, 0)
            libc.mallopt(-1, -1)


def resolve_device(
    trainer: dict[str, Any], safe_precisions: tuple[str, ...], remote: bool = False, width: int | None = None
) -> str | None:
    """Replace `auto` in a trainer node's accelerator, devices and precision in place.

    Returns the line that says what was chosen, if anything was. `safe_precisions` are those that the task calls safe, fp32
    first, `width` is that of the model. A `remote` run may name a device that this machine does not have. Raises UserError.
    """
    requested = trainer["accelerator"]
    check_accelerator(requested, remote)
    check_devices(trainer["devices"])
    if requested == "cpu" and isinstance(trainer["devices"], list):
        raise UserError(
            f"trainer.devices={trainer['devices']} names GPUs by number, and a CPU has none: give a number of processes."
        )
    is_auto = "auto" in (requested, trainer["precision"])
    is_ddp, reason = trainer.get("strategy") == "ddp", ""
    if requested == "gpu":
        trainer["accelerator"] = "cuda"
    if requested == "auto":
        trainer["accelerator"] = "cpu" if is_ddp and best_accelerator() == "mps" else best_accelerator()
    if trainer["devices"] in ("auto", -1):
        trainer["devices"] = (gpu_count() if trainer["accelerator"] == "cuda" else 0) or (2 if is_ddp else 1)
    if not remote and trainer.get("num_nodes", 1) == 1:
        check_enough_devices(trainer["accelerator"], trainer["devices"])
    if is_ddp and num_local_processes(trainer) == trainer.get("num_nodes", 1) == 1:
        trainer["strategy"] = "auto"  # one process needs no group, which would outlive the run
    if num_local_processes(trainer) > 1 and not hasattr(os, "fork"):
        raise UserError("Windows cannot run several processes as one run: leave device=ddp out, or use WSL.")
    if num_local_processes(trainer) > 1 and isinstance(trainer.get("val_check_interval"), str | dict):
        raise UserError(
            f"trainer.val_check_interval={trainer['val_check_interval']} is a time, and the clocks of "
            f"{num_local_processes(trainer)} processes differ: give a number of batches."
        )
    if trainer["precision"] == "auto":
        if is_ddp:
            trainer["precision"] = DEFAULT_PRECISION[trainer["accelerator"]]
        else:
            trainer["precision"], reason = choose_precision(
                trainer["accelerator"], safe_precisions, width or PROBE_WIDTH
            )
    if trainer["accelerator"] == "cpu" and str(trainer["precision"]) in FP16_PRECISIONS and not remote:
        raise UserError(f"trainer.precision={trainer['precision']} needs a GPU: use bf16-mixed or 32-true on a CPU.")
    if not is_auto:
        return None
    if is_ddp:
        return f"device=ddp: {num_local_processes(trainer)} x {trainer['accelerator']} in {trainer['precision']}"
    return f"device=auto: {trainer['accelerator']} in {trainer['precision']}{reason}"


def check_accelerator(name: str, remote: bool) -> None:
    """Raises UserError for an accelerator that this machine does not have."""
    if name != "auto" and name not in available_accelerators() and not (remote and name in ("cuda", "gpu")):
        raise UserError(f"device={name}: this machine has no such device; use device={best_accelerator()} or auto.")


def check_devices(devices: Any) -> None:
    """Raises UserError for a value that is not a number of devices."""
    is_list = isinstance(devices, list) and devices and all(type(number) is int for number in devices)
    is_count = type(devices) is int and (devices > 0 or devices == -1)
    if not (is_list or is_count or devices == "auto"):
        raise UserError(
            f"trainer.devices={devices} is not a number of devices: use a number such as 2, auto for all, or GPUs by "
            "number: [0,1]."
        )


def check_enough_devices(accelerator: str, devices: int | list[int]) -> None:
    """Raises UserError for more GPUs than there are, and for too many processes for a CPU."""
    wanted = max(devices) + 1 if isinstance(devices, list) else devices
    if accelerator == "cuda" and wanted > gpu_count():
        raise UserError(
            f"trainer.devices={devices} is more than this machine has: {gpu_count()} GPU(s), counted from 0."
        )
    most = MAX_PROCESSES_PER_CORE * (os.cpu_count() or 1)
    if accelerator == "cpu" and wanted > most:
        raise UserError(f"trainer.devices={devices} is more processes than this machine supports: use at most {most}.")


def choose_precision(accelerator: str, safe_precisions: tuple[str, ...], width: int) -> tuple[str, str]:
    """The precision to use, and the reason."""
    if "bf16-mixed" not in safe_precisions or accelerator == "mps":
        return "32-true", ""
    speedup = bf16_speedup(accelerator, width)
    if speedup is None:
        return "32-true", " (other processes keep this machine busy, so that bf16 was not measured)"
    precision = "bf16-mixed" if speedup >= MIN_BF16_SPEEDUP else "32-true"
    return precision, f" (bf16 measured at {speedup:.2g} times the speed of fp32)"


def bf16_speedup(accelerator: str, width: int = PROBE_WIDTH) -> float | None:
    """The speed of matrix products of a model's width in bfloat16 relative to fp32; None if the machine is busy.

    Measured once per machine and kept in the cache.
    """
    if (accelerator, width) in BUSY:  # one answer for all jobs of a sweep
        return None
    file = cache_folder() / "precision.json"
    size = f"{PROBE_ROWS[accelerator]} x {width}"
    machine = f"{hardware_name()}, {torch.get_num_threads()} threads, torch {torch.__version__}, {accelerator}, {size}"
    known: dict[str, float] = {}
    with suppress(OSError), lock_file(file):  # where the cache cannot be written, it is measured each time
        with suppress(OSError, ValueError):
            known = json.loads(file.read_text(encoding="utf-8"))
        if machine not in known:
            if accelerator == "cpu" and is_busy():
                BUSY.add((accelerator, width))
                return None
            known[machine] = time_speedup(accelerator, width)
            write_json(file, known)
    return known[machine] if machine in known else time_speedup(accelerator, width)


def available_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def is_busy(seconds: float = 0.1) -> bool:
    """True if other processes use this machine's cores: not this one, nor the server that it forks jobs from, but its jobs."""

    def own_seconds() -> float:
        total, this = 0.0, psutil.Process()
        for process in (this, *this.children()):
            with suppress(psutil.Error):
                total += sum(process.cpu_times()[:2])
        return total

    before = own_seconds()
    used = psutil.cpu_percent(seconds) / 100 * (os.cpu_count() or 1) * seconds
    return used - (own_seconds() - before) > BUSY_CORES * seconds


def time_speedup(accelerator: str, width: int) -> float:
    """The speed of a product in bfloat16 relative to fp32."""
    return time_matmul(accelerator, torch.float32, width) / time_matmul(accelerator, torch.bfloat16, width)


def time_matmul(accelerator: str, dtype: torch.dtype, width: int, budget: float = 0.03) -> float:
    """Seconds of a product (rows, width) by (width, width): the shortest within `budget` seconds."""
    rows = PROBE_ROWS[accelerator]
    left = torch.ones(rows, width, dtype=dtype, device=accelerator)
    right = torch.ones(width, width, dtype=dtype, device=accelerator)
    times: list[float] = []
    while len(times) < 2 or sum(times[1:]) < budget:
        start = time.perf_counter()
        torch.nn.functional.linear(left, right)[0, 0].item()  # item() waits for the device
        times.append(time.perf_counter() - start)
    return min(times[1:])  # the first one warmed up
