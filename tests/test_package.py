"""What the package promises about itself."""

import ast
import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
MODULES = {"hydra-core": "hydra", "pyyaml": "yaml", "annotated-types": "annotated_types"}
NEEDED_BY_OTHERS = {"tensorboard"}  # by torch.utils.tensorboard


def imported() -> set[str]:
    """The packages that src imports."""
    names = set()
    for file in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("requirement", PROJECT["dependencies"])
def test_every_direct_dependency_is_used(requirement: str) -> None:
    name = re.split(r"[<>=]", requirement)[0]
    assert MODULES.get(name, name) in imported() or name in NEEDED_BY_OTHERS


def test_every_package_folder_is_packaged() -> None:
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    found = {
        ".".join(file.parent.relative_to(ROOT / "src").parts) for file in (ROOT / "src" / "seqlab").rglob("__init__.py")
    }
    assert listed == found | {"seqlab.conf", "hydra_plugins"}


def test_files_stay_short() -> None:
    long = {str(file): n for file in (ROOT / "src").rglob("*.py") if (n := len(file.read_text().splitlines())) > 300}
    assert not long
    assert len((ROOT / "README.md").read_text().splitlines()) <= 300


def test_licence_and_citation_say_what_the_package_says() -> None:
    from seqlab import __version__

    assert "Apache License" in (ROOT / "LICENSE").read_text()
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (citation["version"], citation["license"]) == (__version__, PROJECT["license"])
