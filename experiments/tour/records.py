"""Write instruction records about pairs of words of the story: python records.py records.json

Four kinds of instruction, each with all ordered pairs of 16 words, in an order that depends on nothing but SEED. The
last records are the test split: there each pair is new to its kind of instruction, though its words are not.
"""

import json
import random
import sys
from collections.abc import Callable
from itertools import permutations
from pathlib import Path

SEED = 0
WORDS = "apple boat clock dog fish garden honey key lamp moon night parrot rope storm tea window".split()

KINDS: dict[str, Callable[[str, str], str]] = {
    "Name the first word.": lambda first, last: first,
    "Name the last word.": lambda first, last: last,
    "Repeat the words.": lambda first, last: f"{first} {last}",
    "Swap the words.": lambda first, last: f"{last} {first}",
}


def records() -> list[dict[str, str]]:
    """One record per kind and pair, shuffled."""
    made = [
        {"instruction": instruction, "input": f"{first} {last}", "output": answer(first, last)}
        for instruction, answer in KINDS.items()
        for first, last in permutations(WORDS, 2)
    ]
    random.Random(SEED).shuffle(made)
    return made


if __name__ == "__main__":
    out = Path(sys.argv[1])
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(records(), indent=1))
    print(f"{len(records())} records of {len(KINDS)} kinds in {out}")
