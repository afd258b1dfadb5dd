"""Tokens that a text may go on with, since they followed where it read the same before: read at once, they cost little more
than one, and those that the model would have written as well need not be read again.

Each is kept only if the token drawn from the model's own logits is the same, so the text stays what it would have been (Yang et
al., arXiv 2304.04487; Leviathan et al., arXiv 2211.17192).
"""

from torch import Tensor

SAME_TOKENS = 3  # that must have stood before
MAX_GUESS = 10  # tokens


class Guess:
    """What may follow a text, and the logits after each of its tokens once a model has read them."""

    def __init__(self) -> None:
        self.places: dict[tuple[int, ...], int] = {}  # what stands behind some tokens, where they came last
        self.known = SAME_TOKENS  # how far the text is entered there
        self.length = 1  # of the next guess: twice as many as were right of the last
        self.right = 0
        self.tokens: list[int] = []  # that have been read, and are still to come
        self.logits: Tensor | None = None  # (G, V)

    def find(self, text: list[int], most: int) -> list[int]:
        """The tokens that may follow, at most so many; where the text repeats itself, once more from the beginning."""
        for place in range(self.known, len(text)):
            self.places[tuple(text[place - SAME_TOKENS : place])] = place
        self.known = max(self.known, len(text))
        start = self.places.get(tuple(text[-SAME_TOKENS:]))
        if start is None:
            return []
        return [text[start + number % (len(text) - start)] for number in range(min(self.length, most))]

    def keep(self, tokens: list[int], logits: Tensor) -> None:
        """Remember what was read: G tokens, logits (G, V)"""
        self.tokens, self.logits, self.right = tokens, logits, 0

    def take(self, token: int) -> Tensor | None:
        """The logits (1, V) after a token, if it is the next of the guess; else None, and `tokens` are to be forgotten."""
        if not self.tokens or self.logits is None or token != self.tokens[0]:
            return None
        found, self.tokens, self.logits = self.logits[:1], self.tokens[1:], self.logits[1:]
        self.right += 1
        return found

    def drop(self) -> int:
        """Forget what was read and has not come; -> how many tokens"""
        count, self.tokens, self.logits = len(self.tokens), [], None
        self.length = min(max(1, 2 * self.right), MAX_GUESS)
        return count
