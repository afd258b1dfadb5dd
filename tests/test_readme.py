"""Every `train.py` and `seqlab` command of the README is executed, long ones under debug=fast."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

README = (Path(__file__).parents[1] / "README.md").read_text()
BLOCKS = re.findall(r"```(?:sh|bash)\n(.*?)```", README, re.DOTALL)
LINES = [line.split("  #")[0].strip() for block in BLOCKS for line in block.splitlines()]
COMMANDS = list(dict.fromkeys(line for line in LINES if re.match(r"(python train\.py|seqlab)\b", line)))
SMALL = ["model.n_layer=1", "model.n_head=2", "model.n_embd=16"]


def words_of(line: str) -> list[str]:
    """`python train.py …` and `seqlab …` are the same command."""
    words = shlex.split(line)
    return ["train", *words[2:]] if words[0] == "python" else words[1:]


def test_there_are_commands() -> None:
    assert len(COMMANDS) > 10


def marked(line: str) -> object:
    """A command as a test; a job by submitit starts a Python of its own, and many of them take long."""
    return pytest.param(line, marks=pytest.mark.long) if "hydra/launcher=slurm" in line else line


@pytest.mark.parametrize("line", map(marked, COMMANDS))
def test_the_command_works(line: str, seqlab, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEQLAB_DATA", str(shared))
    (tmp_path / "notes.txt").write_text("One note a day keeps the deadline away; two make it a habit.\n" * 100)
    base = ["train", "data=verdict", "model=gpt_mini", *SMALL, "debug=fast", "device=cpu", "trainer.max_steps=1"]
    words = words_of(line)
    words = [re.sub(r"<\w+>", "last", word) for word in words]
    if any(word in ("run=last", "init_from=last", "resume=last", "b=last") for word in words):
        assert seqlab(*base).status == 0
    if words[0] == "report" or "sweep.resume=last" in words:
        assert seqlab("train", "-m", "seed=1,2", "trainer.max_epochs=1", "device=cpu").status == 0
        answer = seqlab(*words)
        assert answer.status == 0, answer.err
        return
    if "hydra/launcher=slurm" in words:
        words.append("hydra.launcher.cluster=local")
    if words[0] == "runs":
        assert seqlab("train", "trainer.max_epochs=1", "device=cpu").status == 0
    two = (r"^(seed=\d+,\d+).*", r"\1"), (r"^sweep\.seeds=.*", "sweep.seeds=2")  # they show it as well as ten
    for pattern, fewer in two:
        words = [re.sub(pattern, fewer, word) for word in words]
    if words[0] == "train" and "--help" not in words and "--cfg" not in words:
        words += ["device=cpu"] if not any(word.startswith(("resume=", "device=")) for word in words) else []
        if not any(word.startswith(("resume=", "debug=")) for word in words):
            words.append("debug=fast")
        if any(word in ("data=verdict", "data=instruction") for word in words) and not any(
            "init_from" in w for w in words
        ):
            words += SMALL
    if "device=ddp" in words and "start=false" not in words:  # becomes the process that Lightning repeats
        done = subprocess.run([sys.executable, "-m", "seqlab", *words], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return
    answer = seqlab(*words)
    assert answer.status == 0, answer.err
