"""A server on a free port of this machine, in a thread."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest


class RunningServer:
    """The address of a server, and its application's workers."""

    def __init__(self, url: str, app: Any) -> None:
        self.url, self.app = url, app

    @property
    def worker(self) -> Any:
        """The worker of the only model."""
        return next(iter(self.app.state.server.workers.values()))


@pytest.fixture
def serve(make_run: Callable) -> Iterator[Callable[..., RunningServer]]:
    """Start a server: `serve({"tiny": run}, rows=4)`; by default over a base model called tiny."""
    import uvicorn

    from seqlab.serving.server.address import open_port
    from seqlab.serving.server.app import Limits, build_app

    servers = []

    def start(runs: Any = None, key: str | None = None, **limits: Any) -> RunningServer:
        app = build_app(runs or {"tiny": make_run(context_length=128)}, Limits(**limits), key)
        place = open_port("127.0.0.1", 0)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [place]}, daemon=True)
        thread.start()
        servers.append((server, thread))
        while not server.started:
            time.sleep(0.01)
        return RunningServer(f"http://127.0.0.1:{place.getsockname()[1]}", app)

    yield start
    for server, thread in servers:
        server.should_exit = True
        thread.join(10)
        assert not thread.is_alive()
