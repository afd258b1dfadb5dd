"""Speculative decoding without a second model: where a text repeats itself, what followed before is read as a draft.

Tokens read at once cost little more than one. Each is kept only if the token drawn from the model's own logits is the same, so
the text stays what it would have been (Yang et al., arXiv 2304.04487; Leviathan et al., arXiv 2211.17192).
"""

from torch import Tensor

NGRAM = 3  # tokens that must have stood before
MAX_DRAFT = (
    10  # tokens; with the one before them few enough for products that are exact for few rows (`serving/linear.py`)
)


class Draft:
    """Tokens that may follow a text, and the logits after each of them once a model has read them."""

    def __init__(self) -> None:
        self.places: dict[tuple[int, ...], int] = {}  # what stands behind each n-gram, where it came last
        self.indexed = NGRAM  # how far the text is entered there
        self.length = 1  # of the next draft: twice as many as were accepted of the last
        self.accepted = 0
        self.tokens: list[int] = []  # that have been read, and are still to come
        self.logits: Tensor | None = None  # (D, V)

    def find_tokens(self, text: list[int], max_tokens: int) -> list[int]:
        """The tokens that may follow those of a text; where they reach its end, once more from their beginning."""
        for place in range(self.indexed, len(text)):
            self.places[tuple(text[place - NGRAM : place])] = place
        self.indexed = max(self.indexed, len(text))
        start = self.places.get(tuple(text[-NGRAM:]))
        if start is None:
            return []
        return [text[start + number % (len(text) - start)] for number in range(min(self.length, max_tokens))]

    def keep(self, tokens: list[int], logits: Tensor) -> None:
        """Remember what was read: D tokens, logits (D, V)"""
        self.tokens, self.logits, self.accepted = tokens, logits, 0

    def take_logits(self, token: int) -> Tensor | None:
        """The logits (1, V) after a token, if it is the next of the draft; else None, and the others are of no use."""
        if self.logits is None or [token] != self.tokens[:1]:
            return None
        found, self.tokens, self.logits = self.logits[:1], self.tokens[1:], self.logits[1:]
        self.accepted += 1
        return found

    def drop(self) -> int:
        """Give up the tokens that have not come; -> how many"""
        count, self.tokens, self.logits = len(self.tokens), [], None
        self.length = min(max(1, 2 * self.accepted), MAX_DRAFT)
        return count
