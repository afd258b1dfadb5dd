"""The field's names: functions are verb + object, one name is defined once, retired words do not come back."""

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src"
FILES = sorted([*(SRC / "seqlab").rglob("*.py"), *(SRC / "hydra_plugins").rglob("*.py")])
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
MAX_LINES = 50  # of a function: a screen
# Functions of one word: the doors of the package, commands, PyTorch's optimizers, and terms that say it all.
ONE_WORD = {"main", "dispatch", "train", "load", "compose", "adam", "adamw", "sgd", "flatten", "slugify", "timestamp"}
ONE_WORD |= {"muon", "adafactor", "parameters", "provenance", "recompose", "revalidate", "unfinished", "matches"}
RETIRED_MODULES = {
    *("mistakes", "bases", "pretrained", "freeze", "freezing", "choices", "checks", "limits", "schedules", "fetching"),
    *(
        "output",
        "randomness",
        "tracking",
        "words",
        "composing",
        "explaining",
        "planning",
        "record",
        "curve",
        "sampling",
    ),
    *("formats",),
}
RETIRED_NAMES = {
    *("Mistake", "Base", "Unheard", "Composed", "GIVEN", "SEVERAL", "MAY_BE_EMPTY", "WORTH_IT", "FIXED", "FLOAT"),
    *("HandOut", "ALONE", "AGAIN", "BEGUN", "FREE", "REFUSED", "IGNORED", "LanguageModelling", "Order", "Batches"),
    *("Records", "Recurrent", "Byte", "Char", "AtomicFiles", "Record", "Ranks", "Samples", "Forecast", "SameBatches"),
    *("DEAF", "Watched", "unheard", "say", "uncollected", "enter", "take", "ended", "of_another_rank", "several"),
    *("quiet", "follow", "settle", "taken", "validates", "of_run", "best_of", "weights_of", "described", "restored"),
    *("make", "facts", "missing", "keywords", "required", "fits", "readable", "fitting", "there", "gpus", "hardware"),
    *("accelerator", "prepare", "resolve", "processes", "fastest", "seconds", "kept_for_backward", "states", "quoted"),
    *("apart", "value_of", "take_allow", "receive", "said_by_hydra", "chosen", "changed", "composed", "plain", "typed"),
    *("offer", "searched", "with_base", "again", "composed_again", "resumed", "one_before", "dated", "find"),
    *("plain_name", "short", "flat", "held", "surroundings", "whereabouts", "alive", "begun", "refuse_alive", "close"),
    *("newest", "go_back", "is_whole", "sums", "measure", "measures", "derived", "derives", "requires", "running"),
    *("window", "step_rate", "divides_later", "show", "consumed", "consume", "of_epoch", "as_it_is", "stands_in"),
    *("place", "training_text", "read_records", "documents", "tied", "initialisation", "replace", "notes"),
    *("initialise_as_published", "shape", "choose", "pick", "continuation", "rendered", "best_there", "tidy", "look"),
    *("catch_up", "announce", "conclude", "through_the_door", "how", "hopeless", "kept", "gone", "pass_on", "is_there"),
    *("look_again", "begin", "fill", "checked", "refreeze", "differing", "spread", "against", "others", "sentence"),
}
RETIRED_PHRASES = [
    *(r"(?<!a )mistake", r"\bmend", r"\bhangs? on\b", r"(?<!there )\bis no (?!longer)", r"\bgo(es)? on (?!a|the|with)"),
    *(r"\btake \S+=", r"\bfrozen config", r"\bstand-in\b", r"\bread anew\b"),
]


def definitions(file: Path) -> list[str]:
    """The functions, methods, classes and constants of a file."""
    nodes = list(ast.walk(ast.parse(file.read_text())))
    names = [node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    assigned = [target for node in nodes if isinstance(node, ast.Assign) for target in node.targets]
    return names + [name.id for name in assigned if isinstance(name, ast.Name) and name.id.isupper()]


def public_functions(file: Path) -> list[str]:
    """The functions at the top of a file that other files may call."""
    nodes = ast.parse(file.read_text()).body
    return [node.name for node in nodes if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")]


def test_functions_are_verb_and_object() -> None:
    one_word = {name for file in FILES for name in public_functions(file) if "_" not in name}
    assert one_word == ONE_WORD


def test_a_function_is_defined_once() -> None:
    doors = SRC / "seqlab" / "__init__.py"  # hands its functions on
    files = [file for file in FILES if file != doors and file.parent.name != "hugging_face"]  # families have the same
    counts = Counter(name for file in files for name in public_functions(file) if name != "main")
    assert not {name for name, count in counts.items() if count > 1}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SRC)))
def test_retired_names_do_not_come_back(file: Path) -> None:
    assert file.stem not in RETIRED_MODULES
    assert not set(definitions(file)) & RETIRED_NAMES


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SRC)))
def test_functions_fit_a_screen(file: Path) -> None:
    functions = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.FunctionDef)]
    assert not {node.name for node in functions if node.end_lineno and node.end_lineno - node.lineno >= MAX_LINES}


@pytest.mark.parametrize("file", [*FILES, *PAGES], ids=lambda file: str(file.relative_to(ROOT)))
def test_retired_phrases_do_not_come_back(file: Path) -> None:
    text = " ".join(file.read_text().lower().split())
    assert not [match[0] for phrase in RETIRED_PHRASES for match in re.finditer(phrase, text)]
