"""Imports point one way, down the list of rooms; heavy packages are imported late."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src" / "seqlab"
RANKS = [  # rooms of one rank do not import each other
    ["__main__", "start"],
    ["cli"],
    ["sweeps"],
    ["launch"],
    ["training", "evaluation", "serving", "export", "report"],
    ["weights"],
    ["build"],
    ["callbacks", "loggers", "tasks", "data"],
    ["prompts", "generation", "adapters"],
    ["tokenizers", "models", "runs", "config"],
    ["device"],
    ["files", "seeding", "batch"],
    ["types"],
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
        if name.startswith("seqlab.") and room(name) != here:
            assert RANK[room(name)] > RANK[here], f"{here} imports {name}"
        assert not name.startswith("experiments")


def test_models_know_only_torch() -> None:
    for file in (SRC / "models").glob("*.py"):
        names = imports(file)
        assert {name.split(".")[0] for name in names} <= {
            "torch",
            "typing",
            "collections",
            "functools",
            "math",
            "seqlab",
            *(["transformers"] if file.name == "hf.py" else []),
        }
        assert {room(name) for name in names if name.startswith("seqlab.")} <= {"types", "models"}


def test_only_the_command_line_knows_hydra() -> None:
    knowing = {
        file.relative_to(SRC).with_suffix("").parts[0]
        for file in FILES
        if any(name.split(".")[0] == "hydra" for name in imports(file))
    }
    assert knowing == {"cli"}


def test_lightnings_private_parts_are_touched_in_one_module() -> None:
    """Attributes of Lightning's objects that begin with an underscore."""
    for file in FILES:
        if file.name == "lightning_private.py" or not any("lightning" in name for name in imports(file)):
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
                owner = ast.unparse(node.value)
                assert owner in ("torch", "os", "self", "batch") or owner.endswith("_storage()"), (
                    f"{file}: {owner}.{node.attr}"
                )


def modules_after(code: str, *names: str) -> list[str]:
    """Which of these modules are imported once some code has run in a new Python."""
    code += f"; import sys; print([name for name in {names} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return ast.literal_eval(done.stdout.splitlines()[-1])


def test_help_imports_nothing_heavy() -> None:
    heavy = ("torch", "lightning", "hydra", "numpy", "pydantic", "rich")
    assert modules_after("from seqlab.cli import main; main(['train', '--help'])", *heavy) == []


def test_the_package_itself_imports_nothing_heavy() -> None:
    assert modules_after("import seqlab; seqlab.load; seqlab.runs", "torch", "lightning", "hydra", "yaml") == []


def test_generation_needs_no_lightning() -> None:
    assert modules_after("import seqlab.serving.engine", "torch", "lightning") == ["torch"]


def test_the_top_of_the_package_has_at_most_twelve_modules() -> None:
    assert len(list(SRC.glob("*.py"))) <= 12
