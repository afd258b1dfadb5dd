"""What `--help` prints: the verbs; the groups and options with one line each. Reads yaml only, to answer at once."""

import textwrap
from pathlib import Path

import yaml

from seqlab.config.groups import CONF, default_options, group_options, header_comment, verb_groups


def print_help(verb: str | None, verbs: dict[str, str], folders: list[Path] | None = None) -> None:
    """The help of a verb, or of seqlab; `folders` of one's own options are listed as well."""
    if verb is None:
        print("seqlab: experiments with sequence models. All arguments are key=value.\n")
        for name, text in verbs.items():
            description, command = header_comment(CONF / f"{name}.yaml")
            print(f"  seqlab {name:<9} {text}\n  {'':<16} {description or command}")
        print("\nseqlab <verb> --help lists its options; seqlab train --cfg job prints a config.")
        return
    print(f"seqlab {verb}: {verbs[verb]}\n")
    print_keys(verb)
    print_groups(verb, folders or [])


def print_keys(verb: str) -> None:
    """The keys of a verb's own yaml with their comments."""
    lines = (CONF / f"{verb}.yaml").read_text(encoding="utf-8").splitlines()
    print(f"  {lines[0][2:]}\n")
    content = yaml.safe_load((CONF / f"{verb}.yaml").read_text(encoding="utf-8"))
    for line in lines:
        key = line.split(":")[0]
        if key in content and key not in ("defaults", "hydra", "paths", "objective"):
            value, _, text = line.partition("#")
            print(format_row(value.strip(), text.strip(), 22))
    print()


def print_groups(verb: str, folders: list[Path]) -> None:
    """The groups that a verb composes, and their options."""
    used = verb_groups(verb)
    for group, options in group_options().items():
        if group not in used:
            continue
        print(f"{group}=")
        own = [file for folder in folders for file in sorted((folder / group).glob("*.yaml"))]
        for file in [*(CONF / group / f"{option}.yaml" for option in options), *own]:
            description, _ = header_comment(file)
            is_default = file.parent.parent == CONF and file.stem == default_options().get(group)
            print(format_row(file.stem, description + " (default)" * is_default, 18))
    if "model" in used:
        print("\nA value: group.key=value, such as model.dropout=0.1 or trainer.max_epochs=3.")
        print(f"The keys of a choice: seqlab {verb} model=gpt_mini --cfg job --package model.")


def format_row(name: str, text: str, width: int) -> str:
    """A name and what it is, within 80 columns."""
    return textwrap.fill(f"  {name:<{width}} {text}", 80, subsequent_indent=" " * (width + 3), drop_whitespace=True)
