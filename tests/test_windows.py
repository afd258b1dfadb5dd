"""What works on Windows, and what is refused there, on a Python without what Windows lacks."""

import json
import subprocess
import sys
from pathlib import Path

WITHOUT = """
import json, os, signal, sys, types, warnings
import torch, lightning, psutil, matplotlib  # these know Windows by themselves, and keep what they have
import lightning.pytorch.trainer.connectors.signal_connector

for name in ("fork", "forkpty", "killpg", "getpgid", "setsid", "sched_getaffinity", "getuid"):
    delattr(os, name)
missing = ("SIGHUP", "SIGUSR1", "SIGUSR2", "SIGKILL", "pthread_sigmask")
sys.modules["signal"] = types.ModuleType("signal")
vars(sys.modules["signal"]).update({name: value for name, value in vars(signal).items() if name not in missing})
sys.modules["fcntl"] = sys.modules["resource"] = sys.modules["pwd"] = sys.modules["grp"] = None
warnings.simplefilter("ignore")  # filelock's, that it has no locks but files

from seqlab.cli import main

for args in json.loads(sys.argv[1]):
    sys.argv = ["seqlab", *args]
    print("exit status", main(args), flush=True)
"""


def run_windows(folder: Path, *commands: list[str]) -> tuple[list[int], str]:
    """Run commands in one such Python; their exit statuses, and what they wrote to standard error."""
    (folder / "windows.py").write_text(WITHOUT)
    words = [sys.executable, "-P", "windows.py", json.dumps(commands)]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [int(line.split()[-1]) for line in done.stdout.splitlines() if line.startswith("exit status")], done.stderr


def test_single_runs_work(tmp_path: Path) -> None:
    statuses, said = run_windows(
        tmp_path,
        ["--help"],
        ["train", "model=gru", "device=cpu", "trainer.max_epochs=2"],
        ["train", "resume=last", "trainer.max_epochs=3"],
        ["evaluate", "run=last"],
        ["runs"],
        ["train", "model=gru", "plan=true", "device=cpu"],
    )
    assert statuses == [0] * 6, said
    (info,) = tmp_path.glob("runs/*/*/run.json")
    assert json.loads(info.read_text())["steps"] == 3


def test_what_needs_several_processes_is_refused_in_a_sentence(tmp_path: Path) -> None:
    commands = [
        ["-m", "model=rnn,gru"],
        ["sweep.resume=last"],
        ["device=ddp", "trainer.devices=2", "trainer.accelerator=cpu"],
        ["trainer.devices=2", "device=cpu"],
    ]
    statuses, said = run_windows(tmp_path, *(["train", *command] for command in commands))
    assert statuses == [1] * 4
    assert said.count("WSL") == len(said.strip().splitlines()) == 4
