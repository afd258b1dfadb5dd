"""Write instruction records about the words of the story: python records.py story.txt records.json

Five kinds of instruction, each with the same 200 words, in an order that depends on nothing but SEED. The last records
are the test split, so a test record shares its word with other kinds in the training split, never the whole question.
"""

import json
import random
import re
import sys
from collections.abc import Callable
from pathlib import Path

SEED = 0
WORDS = 200

KINDS: dict[str, Callable[[str], str]] = {
    "Repeat the word.": lambda word: word,
    "Say it twice.": lambda word: f"{word} {word}",
    "Name the first letter.": lambda word: word[0],
    "Name the last letter.": lambda word: word[-1],
    "Spell the word.": lambda word: " ".join(word),
}


def words_of(text: str) -> list[str]:
    """The distinct words of three to six small letters, sorted."""
    return sorted(set(re.findall(r"\b[a-z]{3,6}\b", text)))


def records(text: str) -> list[dict[str, str]]:
    """One record per kind and word, shuffled."""
    shuffle = random.Random(SEED)
    words = shuffle.sample(words_of(text), WORDS)
    made = [
        {"instruction": instruction, "input": word, "output": answer(word)}
        for word in words
        for instruction, answer in KINDS.items()
    ]
    shuffle.shuffle(made)
    return made


if __name__ == "__main__":
    story, out = Path(sys.argv[1]), Path(sys.argv[2])
    made = records(story.read_text(encoding="ascii"))
    out.write_text(json.dumps(made, indent=1))
    print(f"{len(made)} records of {len(KINDS)} kinds in {out}")
