"""A thread that continues the texts of all requests together: they join and leave between two tokens."""

import asyncio
import ctypes
import queue
import threading
import traceback
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from seqlab.serving.completions import Completion, CompletionBatch, Piece
from seqlab.serving.engine import LoadedRun

STOP_SECONDS = 5  # in which a token is finished
IDLE_SECONDS = 1  # after which memory is given back


class QueueFullError(Exception):
    """More texts wait than the server takes."""


class GenerationError(Exception):
    """The model failed."""


class Worker:
    """The texts of one run that are asked for over HTTP. Everything but `work` runs in the server's event loop.

    The weights are read at once, and not with the first request.
    """

    def __init__(self, run: LoadedRun, max_rows: int, max_waiting: int) -> None:
        self.run, self.max_rows, self.max_waiting = run, max_rows, max_waiting
        loading: Future[Any] = Future()
        threading.Thread(target=self.load, args=(loading,), daemon=True).start()
        loading.result()
        self.inbox: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self.listeners: dict[Completion, asyncio.Queue[Piece | Exception]] = {}
        self.running = 0  # rows in use

    def load(self, loading: Future[Any]) -> None:
        """Read the weights, in a thread that ends: OpenMP is half as fast where a second living one has used it."""
        try:
            loading.set_result(self.run.model)
        except BaseException as error:  # raised where it is waited for
            loading.set_exception(error)

    def start(self) -> None:
        """Begin to work, in the event loop that runs now."""
        self.loop = asyncio.get_running_loop()
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.thread.start()

    def stop(self) -> None:
        """End the thread."""
        self.inbox.put(("stop", None))
        self.thread.join(STOP_SECONDS)

    def is_full(self, more: int) -> bool:
        """True if the queue has no room for so many texts."""
        return len(self.listeners) + more > self.max_rows + self.max_waiting

    def count_waiting(self) -> int:
        """The texts that wait for a row."""
        return max(0, len(self.listeners) - self.running)

    async def follow(self, completions: Sequence[Completion], seconds: float) -> AsyncGenerator[Piece]:
        """Yield the pieces of completions until all have ended; those that nobody follows any more are given up.

        Raises QueueFullError if too many wait, TimeoutError if they take longer, and GenerationError.
        """
        if self.is_full(len(completions)):
            raise QueueFullError
        found: asyncio.Queue[Piece | Exception] = asyncio.Queue()
        for completion in completions:
            self.listeners[completion] = found
            self.inbox.put(("add", completion))
        left, end = len(completions), self.loop.time() + seconds
        try:
            while left:
                piece = await asyncio.wait_for(found.get(), end - self.loop.time())
                if isinstance(piece, Exception):
                    raise GenerationError(str(piece)) from piece
                left -= piece.finish_reason is not None
                yield piece
        finally:
            for completion in completions:
                if self.listeners.pop(completion, None):
                    self.inbox.put(("remove", completion))

    def deliver(self, pieces: list[Piece], running: int) -> None:
        """Give pieces to those who follow them."""
        self.running = running
        for piece in pieces:
            if listener := self.listeners.get(piece.completion):
                listener.put_nowait(piece)
                if piece.finish_reason:
                    del self.listeners[piece.completion]

    def deliver_error(self, error: Exception) -> None:
        """Tell all who wait that the model failed."""
        for listener in self.listeners.values():
            listener.put_nowait(error)
        self.running = 0

    def work(self) -> None:
        """The thread: take what has come, give each text its next token, and so on."""
        batch = None
        while True:
            requests = self.take_requests(can_wait=not batch)
            if ("stop", None) in requests:
                return
            try:
                batch = batch or CompletionBatch(self.run.model, self.run.tokenizer.vocab_size, self.max_rows)
                for what, completion in requests:
                    (batch.add if what == "add" else batch.remove)(completion)
                pieces = batch.step() if len(batch) else []
                self.call_in_loop(self.deliver, pieces, len(batch.running))
            except Exception as error:  # of a model; the texts are lost, the server is not
                traceback.print_exc()
                batch = None
                self.call_in_loop(self.deliver_error, error)

    def take_requests(self, can_wait: bool) -> list[tuple[str, Any]]:
        """What was asked for since the last token; if there is nothing else to do, wait for it."""
        requests = []
        if can_wait:
            try:
                requests.append(self.inbox.get(timeout=IDLE_SECONDS))
            except queue.Empty:
                release_memory()
                requests.append(self.inbox.get())
        while not self.inbox.empty():
            requests.append(self.inbox.get())
        return requests

    def call_in_loop(self, function: Any, *args: Any) -> None:
        """Call a function in the event loop, unless it has ended."""
        with suppress(RuntimeError):
            self.loop.call_soon_threadsafe(function, *args)


def release_memory() -> None:
    """Give back to the system what is free: glibc keeps it, in pieces which the next requests do not fill."""
    with suppress(AttributeError, OSError, TypeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)
