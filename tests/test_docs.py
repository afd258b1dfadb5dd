"""Every command in README and docs/ is executed as it stands there, with the files that the page gives before it; what the
pages say of the code is compared with it.

A page is read from top to bottom. A code block after a line such as `mine/model/bigram.yaml`: is a file; commands of a block
of sh run in a folder of the page's own, long ones cut short with debug=fast.
"""

import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest

import seqlab as package
from commands import end_at_once, needed_before, shorten, to_args, write_mistral, write_series, write_texts
from seqlab.runs.run_info import KEYS
from seqlab.weights import hugging_face

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(
    r"(?:^`(?P<file>[\w./-]+)`:\n\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE
)
HEADING = re.compile(r"^## (.*)$", re.MULTILINE)


class Section(NamedTuple):
    """A section of a page: its files and its commands, in order."""

    page: str
    title: str
    steps: list[tuple[str, str]]  # (name of a file, content) or ("", command)


def read_sections(page: Path) -> Iterator[Section]:
    """The sections of a page that have commands of seqlab's."""
    text = page.read_text()
    bounds = [0, *(match.start() for match in HEADING.finditer(text)), len(text)]
    for start, end in pairwise(bounds):
        section = text[start:end]
        steps: list[tuple[str, str]] = []
        for block in BLOCK.finditer(section):
            if block["file"]:
                steps.append((block["file"], block["text"]))
            elif block["language"] in ("sh", "bash"):
                lines = [line.split("  #")[0].strip() for line in block["text"].splitlines()]
                steps += [("", line) for line in lines if re.match(r"(python train\.py|seqlab)\b", line)]
        if any(not name for name, _ in steps):
            title = HEADING.match(section)
            yield Section(page.name, title[1] if title else "start", steps)


SECTIONS = [section for page in PAGES for section in read_sections(page)]


def marked(section: Section) -> object:
    """A section as a test; jobs by submitit start a Python each, and many of them take long."""
    name = f"{section.page}-{section.title}"
    is_long = any("hydra/launcher=slurm" in text for _, text in section.steps)
    return pytest.param(section, id=name, marks=pytest.mark.long if is_long else ())


def test_sections_are_found() -> None:
    assert len(SECTIONS) > 10
    assert sum(len(section.steps) for section in SECTIONS) > 60


@pytest.mark.timeout(600)
@pytest.mark.parametrize("section", map(marked, SECTIONS))
def test_the_commands_work(section: Section, seqlab, shared: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("SEQLAB_DATA", str(shared))
    end_at_once(monkeypatch)
    write_texts(tmp_path)
    write_series(tmp_path / "my.csv")
    for name, text in section.steps:
        monkeypatch.delenv("SEQLAB_ALLOW", raising=False)
        if name:
            write_file(tmp_path / name, text, monkeypatch)
            continue
        args = shorten(to_args(text))
        for command in needed_before(args):
            assert seqlab(*command).status == 0
        if "device=ddp" in args and "start=false" not in args:  # becomes the process that Lightning repeats
            words = [sys.executable, "-m", "seqlab", *args]
            done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            continue
        answer = seqlab(*args)
        assert answer.status == 0, f"{text}\n{answer.out}{answer.err}"


def write_file(path: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write a file of a page; a module of the same name is forgotten."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    if path.parent.name == "hugging_face":  # a module of seqlab's own
        monkeypatch.setattr(hugging_face, "__path__", [*hugging_face.__path__, str(path.parent)])
        write_mistral(path.parents[4] / "my-mistral")
    if path.suffix == ".py":
        sys.modules.pop(path.stem, None)
        importlib.invalidate_caches()
        for cached in (path.parent / "__pycache__").glob("*"):
            cached.unlink()


def test_the_blocks_of_the_notebook_page_run_one_after_the_other(tmp_path: Path, monkeypatch) -> None:
    blocks = [block["text"] for block in BLOCK.finditer((ROOT / "docs" / "notebook.md").read_text())]
    assert len(blocks) > 6
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, "notebook.md", "exec"), namespace)
    assert namespace["logits"].shape == (1, 8, namespace["run"].tokenizer.vocab_size)
    assert len(package.runs()) == 2


def load_script(file: Path) -> ModuleType:
    """A script as a module."""
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_the_configuration_is_what_its_command_writes() -> None:
    page = load_script(ROOT / "docs" / "generate_configuration.py")
    assert (ROOT / "docs" / "configuration.md").read_text() == page.generate(), page.__doc__


def test_every_key_of_run_json_is_described_once() -> None:
    section = (ROOT / "docs" / "run-folder.md").read_text().split("## run.json")[1].split("## ")[0]
    described = [
        name for row in re.findall(r"^\| (`.*?`) \|", section, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)
    ]
    assert sorted(described) == sorted(KEYS)


def test_the_tree_of_the_architecture_names_every_room() -> None:
    tree = (ROOT / "docs" / "architecture.md").read_text().split("```")[1]
    rooms = [file.parent for file in (ROOT / "src" / "seqlab").glob("*/__init__.py")]
    modules = [path for path in (ROOT / "src" / "seqlab").glob("*.py") if not path.name.startswith("__")]
    for path in [*rooms, *modules]:
        assert (f"{path.name}/" if path.is_dir() else path.name) in tree


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        assert file.exists(), target
        headings = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE) if anchor else []
        assert not anchor or anchor in [re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") for h in headings], target
