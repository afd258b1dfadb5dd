"""Tokens that come one by one, as text: no character is shown before it is whole, and stop strings are not shown at all."""

from collections.abc import Callable, Sequence

INCOMPLETE = "\N{REPLACEMENT CHARACTER}"  # what a decoder makes of a part of a character


class TextStream:
    """The text of tokens that come one by one, each decoded with the few before it, whatever the length of the whole.

    A text ends before the stop string that is complete first, wherever tokens begin and end: what may become one is held
    back.
    """

    def __init__(
        self, decode: Callable[[list[int]], str], stop: Sequence[str] = (), context: Sequence[int] = ()
    ) -> None:
        self.decode, self.stop = decode, stop
        self.context = list(context)  # the tokens before: some decoders treat a first one differently
        self.pending: list[int] = []  # the tokens of an unfinished character
        self.held = ""  # text that may be the beginning of a stop string
        self.stopped = False

    def push(self, token: int) -> str:
        """The text that the next token completes, perhaps none."""
        before = self.decode_pending()
        self.pending.append(token)
        text = self.decode_pending()
        if text and not text.endswith(INCOMPLETE):
            self.context, self.pending = self.pending, []
            return self.release(text)
        alone = self.decode([token])
        if before and alone and before + alone == text:  # what came before it is not continued
            self.context, self.pending = self.pending[:-1], [token]
            return self.release(before)
        return ""

    def finish(self) -> str:
        """The rest of the text, when no token follows."""
        text, self.pending = self.decode_pending(), []
        return self.release(text, is_last=True)

    def decode_pending(self) -> str:
        """The text of the unfinished tokens."""
        return self.decode(self.context + self.pending)[len(self.decode(self.context)) :] if self.pending else ""

    def release(self, text: str, is_last: bool = False) -> str:
        """The text that can be shown when `text` has come: up to a stop string, and to what may become one."""
        self.held += text
        if self.stopped:
            return ""
        found = [(place + len(stop), place) for stop in self.stop if (place := self.held.find(stop)) >= 0]
        if found:  # the one that is complete first
            self.stopped, shown = True, self.held[: min(found)[1]]
        elif is_last:
            shown = self.held
        else:
            shown = self.held[: len(self.held) - self.count_held()]
        self.held = self.held[len(shown) :]
        return shown

    def count_held(self) -> int:
        """The length of the longest end of the held text that a stop string begins with."""
        longest = max((len(stop) - 1 for stop in self.stop), default=0)
        ends = range(min(longest, len(self.held)), 0, -1)
        return next((n for n in ends if any(stop.startswith(self.held[-n:]) for stop in self.stop)), 0)
