"""The thread behind the server gives back memory when it has nothing to do."""

import queue
import threading
from types import SimpleNamespace

from seqlab.serving.server import worker
from seqlab.serving.server.worker import Worker


def test_an_idle_worker_gives_back_memory_once_and_goes_on(monkeypatch) -> None:
    released: queue.Queue[str] = queue.Queue()
    monkeypatch.setattr(worker, "IDLE_SECONDS", 0.01)
    monkeypatch.setattr(worker, "release_memory", lambda: released.put("released"))
    idle = Worker(SimpleNamespace(model=None), max_rows=1, max_waiting=1)  # type: ignore[arg-type]  # it loads nothing
    thread = threading.Thread(target=idle.work)
    thread.start()
    assert released.get(timeout=10) == "released"
    idle.inbox.put(("stop", None))
    thread.join(10)
    assert not thread.is_alive()
    assert released.empty()
