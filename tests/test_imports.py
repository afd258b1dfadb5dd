"""Imports point one way, down the list of rooms in DESIGN."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src" / "seqlab"
RANKS = [
    ["__main__", "start"],
    ["cli"],
    ["sweeps"],
    ["launch"],
    ["training", "evaluation", "serving", "report"],
    ["weights"],
    ["build"],
    ["callbacks", "loggers", "tasks", "data"],
    ["prompts", "generation", "adapters"],
    ["tokenizers", "models", "runs", "config"],
    ["device"],
    ["files", "seeding"],
    ["errors"],
    ["streams"],
]
RANK = {room: rank for rank, rooms in enumerate(RANKS) for room in rooms}
FILES = sorted(file for file in SRC.rglob("*.py") if file != SRC / "__init__.py")


def imports(file: Path) -> set[str]:
    """Dotted names that a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def room(name: str) -> str:
    """The room of a dotted name in seqlab."""
    return name.split(".")[1]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SRC)))
def test_imports_point_down(file: Path) -> None:
    here = file.relative_to(SRC).with_suffix("").parts[0]
    for name in imports(file):
        if name.startswith("seqlab.") and room(name) != here and room(name) != "__version__":
            assert RANK[room(name)] > RANK[here], f"{here} imports {name}"
        assert not name.startswith("experiments")


def test_models_know_only_torch() -> None:
    for file in (SRC / "models").glob("*.py"):
        assert {name.split(".")[0] for name in imports(file)} <= {"torch", "typing", "collections", "math", "seqlab"}


def test_only_the_command_line_and_build_know_hydra() -> None:
    knowing = {
        room(f"seqlab.{file.relative_to(SRC).with_suffix('').as_posix().replace('/', '.')}")
        for file in FILES
        if any(name.split(".")[0] == "hydra" for name in imports(file))
    }
    assert knowing == {"cli", "build"}


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from seqlab.cli import main; main(['train', '--help']); "
        "print([m for m in ('torch', 'lightning', 'hydra', 'numpy') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "[]"
    assert "model=" in out
    assert "gpt_mini" in out


def test_generation_needs_no_lightning() -> None:
    code = "import sys, seqlab.serving.generate; print('lightning' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
        == "False"
    )
