"""LoRA on instruction-data.json, against transformers and PEFT as they come: python -m benchmarks.lora

A model of the shape of GPT-2 small with drawn weights, rank 8, batches of 8 records; ours on query and value, PEFT's on the fused
c_attn, in a plain loop that pads each batch to its longest in file order. Records a second, of the steps after the first. Then
packed batches of ours against the same ones padded, without dropout, so that the loss is the same. Then the memory that a few
steps take beyond what there was before them, of LoRA and of all weights with AdamW, each in a process of its own (Linux).
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import torch
from benchmarks.alternate import alternate, machine
from benchmarks.gpt2_small import Clock
from benchmarks.seqlab_run import create, trainer_of
from lightning.pytorch import Callback

from seqlab import build, device
from seqlab.data.instruction import collate_examples
from seqlab.launch.run import configure_logging
from seqlab.models.gpt import GPT

BATCH, CONTEXT, VOCABULARY, EOS = 8, 1024, 50257, 50256
DATA = ["data=instruction", f"data.context_length={CONTEXT}", f"data.batch_size={BATCH}", "model=gpt2"]
DATA += ["callbacks.samples=null", "callbacks.checkpoint=null", "trainer.limit_val_batches=0"]


def draw_gpt(dropout: float = 0.1) -> GPT:
    """Ours, of the shape of GPT-2 small."""
    torch.manual_seed(0)
    return GPT(VOCABULARY, CONTEXT, dropout=dropout, qkv_bias=True, tie_embeddings=True, init="gpt2")


def run_seqlab(
    precision: str, packing: bool, steps: int, adapter: bool = True, drops: bool = True, meter: Callback | None = None
) -> float:
    """Records a second of a run of ours."""
    words = [*DATA, f"trainer.precision={precision}", f"data.packing={packing}", f"trainer.max_steps={steps + 1}"]
    run, config = create(
        [*words, "device=cpu", *(["adapter=lora", f"adapter.dropout={0.05 * drops}"] if adapter else [])]
    )
    model, lora = draw_gpt(0.1 * drops), build.build_adapter(config)
    if lora:
        lora.apply(model)
    task, clock = build.build_task(config, model), Clock()
    task.adapter = lora
    data = build.build_data(config, build.build_tokenizer(config, run))
    trainer_of(run, config, clock, *([meter] if meter else [])).fit(task, datamodule=data)
    return BATCH / clock.seconds


def run_peft(steps: int) -> float:
    """Records a second of a loop with transformers and PEFT, in fp32, as they come."""
    import peft
    import transformers

    model = transformers.GPT2LMHeadModel(transformers.GPT2Config())
    config = peft.LoraConfig(r=8, lora_alpha=16, lora_dropout=0.05, target_modules=["c_attn"], fan_in_fan_out=True)
    adapted: Any = peft.get_peft_model(model, config).train()
    optimizer = torch.optim.AdamW([p for p in adapted.parameters() if p.requires_grad], lr=2e-3)
    run, config = create([*DATA, "device=cpu"])
    data = build.build_data(config, build.build_tokenizer(config, run))
    items = data.splits["train"].items
    start = time.perf_counter()
    for number in range(steps + 1):
        batch = items[number * BATCH : (number + 1) * BATCH]
        ids, _ = collate_examples([([*one, EOS], [True] * (len(one) + 1)) for one, _ in batch], EOS)[:2]
        targets = collate_examples(batch, EOS).targets
        labels = torch.nn.functional.pad(targets, (1, 0), value=-100)  # transformers shifts them
        lengths = torch.tensor([len(one) for one, _ in batch])
        mask = (torch.arange(ids.size(1)) < lengths.unsqueeze(1)).long()
        adapted(input_ids=ids, attention_mask=mask, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if number == 0:
            start = time.perf_counter()
    return BATCH * steps / (time.perf_counter() - start)


def measure_memory(kind: str, steps: int) -> float:
    """Megabytes beyond the model that steps take, in a process of its own."""
    words = [sys.executable, "-m", "benchmarks.lora", "--memory", kind, "--steps", str(steps)]
    return float(subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()[-1])


class MemoryMeter(Callback):
    """The resident memory before the first step; the highest is counted from there."""

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Forget the highest so far."""
        Path("/proc/self/clear_refs").write_text("5")
        self.before = psutil.Process().memory_info().rss

    def measure_growth(self) -> float:
        """Megabytes from there to the highest."""
        highest = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
        assert highest
        return (int(highest[1]) * 1024 - self.before) / 1e6


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", choices=["LoRA", "all weights"])
    options = parser.parse_args()
    steps, here = options.steps, Path.cwd()
    os.environ.setdefault("SEQLAB_DATA", str(here.parent / "shared" / "data"))
    os.chdir(tempfile.mkdtemp())
    configure_logging()
    device.setup_process(None)  # as every run is
    if options.memory:
        meter = MemoryMeter()
        run_seqlab("32-true", True, steps, options.memory == "LoRA", meter=meter)
        print(meter.measure_growth())
        return
    print(f"LoRA, rank 8, batches of {BATCH} records; {machine()}")
    for precision in ("bf16-mixed", "32-true"):
        contenders = {
            f"seqlab, {precision}": lambda p=precision: run_seqlab(p, True, steps),
            "PEFT, fp32": lambda: run_peft(steps),
        }
        alternate(contenders, options.rounds, "records/s")
    for precision in ("bf16-mixed", "32-true"):
        both = {
            name: lambda p=precision, n=name: run_seqlab(p, n == "packed", steps, drops=False)
            for name in ("packed", "padded")
        }
        print(precision)
        alternate(both, options.rounds, "records/s")
    os.chdir(here)
    alternate({kind: lambda k=kind: measure_memory(k, 3) for kind in ("LoRA", "all weights")}, options.rounds, "MB")


if __name__ == "__main__":
    main()
