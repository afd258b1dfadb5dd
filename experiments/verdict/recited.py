"""The longest run of consecutive words that a continuation has in common with a text.

python experiments/verdict/recited.py <text file> < continuation
"""

import sys
from pathlib import Path


def longest(continuation: list[str], text: list[str]) -> list[str]:
    """The longest common run of words, by their lengths ending at each pair of places."""
    best: list[str] = []
    before = [0] * (len(text) + 1)
    for number, word in enumerate(continuation):
        now = [0] * (len(text) + 1)
        for place, other in enumerate(text):
            if word == other:
                now[place + 1] = before[place] + 1
                if now[place + 1] > len(best):
                    best = continuation[number + 1 - now[place + 1] : number + 1]
        before = now
    return best


if __name__ == "__main__":
    words = longest(sys.stdin.read().split(), Path(sys.argv[1]).read_text().split())
    print(f"{len(words)} words in a row: {' '.join(words)}")
