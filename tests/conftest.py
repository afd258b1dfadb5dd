"""What all tests share: no network, folders of their own, and the command line without a new process."""

import importlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import settings
from tensorboard.summary.writer import event_file_writer

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny models lose by a second thread
pytest_plugins = ["loaded_runs", "servers"]
SHARED = Path(__file__).parents[1].parent / "shared" / "data"


settings.register_profile("seqlab", deadline=None)  # a machine may be busy
settings.load_profile("seqlab")
STARTED: list[subprocess.Popen] = []  # by the test that runs
CORES = max(1, (os.cpu_count() or 1) // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))  # of one test


class Answer(NamedTuple):
    """What a command left: exit status, standard output, standard error."""

    status: int
    out: str
    err: str


def in_group(words: Sequence[str | Path], **options: Any) -> subprocess.Popen:
    """Start a command in a process group of its own, of which nothing outlives the test."""
    STARTED.append(subprocess.Popen(words, start_new_session=True, **options))
    return STARTED[-1]


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """Kill what a test has started and, since it failed, not seen the end of."""
    yield
    while STARTED:
        process = STARTED.pop()
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture(autouse=True)
def own_modules(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """What a test imports from its folder is forgotten with it."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for name, module in list(sys.modules.items()):
        if module and str(vars(module).get("__file__")).startswith(str(tmp_path)):
            del sys.modules[name]
    importlib.invalidate_caches()


@pytest.fixture(autouse=True)
def events_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Event files of one process have a number in their names, and TensorBoard sorts it as text: 10 before 9."""
    monkeypatch.setattr(event_file_writer._global_uid, "_value", 0)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only this machine can be reached."""
    connect, look_up = socket.socket.connect, socket.getaddrinfo
    here = ("127.0.0.1", "localhost", "::1")

    def refuse(self: socket.socket, address: object) -> None:
        if isinstance(address, tuple) and address[0] not in here:
            raise OSError(101, "network is blocked in tests")
        connect(self, address)  # type: ignore[arg-type]  # as it was called

    def unknown(host: object, *args: object, **kwargs: object) -> list:
        if host in here:
            return look_up(host, *args, **kwargs)  # type: ignore[arg-type]  # as it was called
        raise socket.gaierror(-3, "network is blocked in tests")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", unknown)


@pytest.fixture(autouse=True)
def own_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing is read from or written to the user's cache."""
    monkeypatch.setenv("SEQLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SEQLAB_DATA", raising=False)
    monkeypatch.delenv("SEQLAB_ALLOW", raising=False)


@pytest.fixture
def shared() -> Path:
    """The folder with The Verdict, the instruction records and GPT-2's tokenizer files."""
    if not SHARED.is_dir():
        pytest.skip(f"needs the data in {SHARED}, which are not there")
    return SHARED


@pytest.fixture
def seqlab(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """Type a command in a folder of its own: `seqlab("train", "model=gru")`."""
    from seqlab.cli import main

    monkeypatch.chdir(tmp_path)

    def type_in(*words: str) -> Answer:
        capfd.readouterr()
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["seqlab", *words])
            status = main(list(words))
        out, err = capfd.readouterr()
        return Answer(status, out, err)

    return type_in


STORY = (
    "The river ran past the mill, and the mill ran because of the river. Every morning the miller opened the sluice, "
    "and every evening he closed it again. One day the river asked him what the flour was for.\n"
) * 12


@pytest.fixture
def story(tmp_path: Path) -> Path:
    """A text file of some 2,000 characters."""
    path = tmp_path / "story.txt"
    path.write_text(STORY)
    return path


TINY = ("model=gpt_mini", "model.n_layer=1", "model.n_head=2", "model.n_embd=16", "tokenizer=char", "device=cpu")


@pytest.fixture
def tiny(story: Path) -> list[str]:
    """The words that train a GPT of a few thousand parameters on the story for two steps."""
    return ["train", "data=text", f"data.path={story}", "data.context_length=16", *TINY, "trainer.max_steps=2"]
