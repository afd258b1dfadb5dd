"""What `device=auto` takes: the best accelerator, and a faster precision where it is safe and measured to pay."""

import json
import platform
import time
from pathlib import Path

import torch

from seqlab.fetching import cache_folder, locked

WORTH_IT = 1.5  # a lower precision must be this many times as fast as fp32


def accelerator() -> str:
    """The best accelerator of this machine: cuda, mps or cpu."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def torch_device(name: str) -> torch.device:
    """The torch device for an accelerator's name, `auto` included."""
    return torch.device(accelerator() if name == "auto" else {"gpu": "cuda"}.get(name, name))


def hardware() -> str:
    """The processor or GPU by its name."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    cpuinfo = Path("/proc/cpuinfo")
    names = [line.split(":")[1].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")] \
        if cpuinfo.exists() else []
    return names[0] if names else platform.processor() or platform.machine()


def resolve(trainer: dict, safe: tuple[str, ...]) -> str | None:
    """Replace `auto` in a trainer node's accelerator and precision in place; the line that says what was taken, if any.

    `safe` are the precisions that the task calls safe, fp32 first.
    """
    if "auto" not in (trainer["accelerator"], trainer["precision"]):
        return None
    if trainer["accelerator"] == "auto":
        trainer["accelerator"] = accelerator()
    why = ""
    if trainer["precision"] == "auto":
        trainer["precision"], why = fastest(trainer["accelerator"], safe)
    return f"device=auto: {trainer['accelerator']} in {trainer['precision']}{why}"


def fastest(name: str, safe: tuple[str, ...]) -> tuple[str, str]:
    """The precision to take, and why."""
    if "bf16-mixed" not in safe or name == "mps":
        return "32-true", ""
    ratio = bfloat16_speed(name)
    verdict = "bf16-mixed" if ratio >= WORTH_IT else "32-true"
    return verdict, f" (bf16 measured at {ratio:.1f} times the speed of fp32)"


def bfloat16_speed(name: str) -> float:
    """How many times as fast as fp32 a product of GPT-2 small's size is in bfloat16; measured once per machine."""
    file = cache_folder() / "precision.json"
    machine = f"{hardware()}, {torch.get_num_threads()} threads, torch {torch.__version__}, {name}"
    with locked(file):
        known = json.loads(file.read_text()) if file.exists() else {}
        if machine not in known:
            known[machine] = seconds(name, torch.float32) / seconds(name, torch.bfloat16)
            partial = file.with_name("precision.json.part")
            partial.write_text(json.dumps(known, indent=2))
            partial.replace(file)
    return known[machine]


def seconds(name: str, dtype: torch.dtype, repeats: int = 5) -> float:
    """The shortest of some multiplications (512, 768) by (768, 3072) on this device."""
    left, right = torch.ones(512, 768, dtype=dtype, device=name), torch.ones(768, 3072, dtype=dtype, device=name)
    times = []
    for _ in range(repeats + 1):  # the first one warms up
        start = time.perf_counter()
        (left @ right)[0, 0].item()  # item() waits for the device
        times.append(time.perf_counter() - start)
    return min(times[1:])
