"""Where files are looked up, what is said when they are nowhere, and downloads from a server of our own."""

import functools
import hashlib
import http.server
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import in_group

from seqlab import files
from seqlab.errors import UserError

CONTENT = b"a text worth fetching\n" * 5000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves a folder, and one file that it breaks off."""

    def log_message(self, *words: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """A file of the folder; of `short.txt` one half."""
        if self.path != "/short.txt":
            return super().do_GET()
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[: len(CONTENT) // 2])
        self.close_connection = True


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a server on this machine that has `text.txt`."""
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "text.txt").write_bytes(CONTENT)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(  # conftest knows no host at all
        socket, "getaddrinfo", lambda host, port, *_: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))]
    )
    monkeypatch.setattr(socket, "getfqdn", lambda name="": name)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def left() -> list[str]:
    """The files in the cache, locks aside."""
    return [file.name for file in files.cache_folder().rglob("*") if file.is_file() and file.suffix != ".lock"]


def test_the_order_of_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEQLAB_DATA", str(tmp_path / "environment"))
    folders = [str(tmp_path / "one"), str(tmp_path / "two")]
    places = [tmp_path, tmp_path / "environment", tmp_path / "one", tmp_path / "two", files.cache_folder()]
    for place in places:
        (place / "sub").mkdir(parents=True)
        (place / "sub" / "text.txt").write_text(str(place))
    for place in places:
        assert (
            files.find_file("sub/text.txt", folders, url="http://127.0.0.1:9/")
            == (place / "sub" / "text.txt").resolve()
        )
        (place / "sub" / "text.txt").unlink()


def test_a_path_may_be_absolute_or_begin_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "text.txt").write_bytes(CONTENT)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert (
        files.find_file(str(tmp_path / "text.txt"))
        == files.find_file("~/text.txt")
        == (tmp_path / "text.txt").resolve()
    )
    assert files.find_file("text.txt", ["~"]) == (tmp_path / "text.txt").resolve()


def test_a_file_that_is_nowhere_names_the_places_and_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEQLAB_DATA", str(tmp_path / "environment"))
    (tmp_path / "text.txt").mkdir()  # a folder is no file
    with pytest.raises(UserError) as error:
        files.find_file("text.txt", [str(tmp_path)], remedy="data.path=<a text>")
    for part in ("text.txt", tmp_path / "environment", tmp_path, files.cache_folder(), "data.path=<a text>"):
        assert str(part) in str(error.value)


def test_without_network_the_address_the_places_and_the_remedy_are_named(tmp_path: Path) -> None:
    url = "https://example.com/text.txt"
    with pytest.raises(UserError) as error:
        files.find_file("text.txt", [str(tmp_path)], url, SHA256, remedy="data=sine")
    for part in (
        "text.txt",
        url,
        "cannot be reached",
        "network is blocked",
        tmp_path,
        files.cache_folder(),
        "data=sine",
    ):
        assert str(part) in str(error.value)
    assert left() == []


def test_a_download_is_checked_and_kept(server: str) -> None:
    path = files.find_file("sub/text.txt", url=f"{server}/text.txt", sha256=SHA256)
    assert path == (files.cache_folder() / "sub" / "text.txt").resolve()
    assert path.read_bytes() == CONTENT
    assert files.compute_sha256(path) == SHA256
    assert left() == ["text.txt"]
    assert files.find_file("sub/text.txt", url="http://127.0.0.1:9/", sha256=SHA256) == path  # the second time without


def test_a_wrong_checksum_leaves_nothing_behind(server: str) -> None:
    with pytest.raises(UserError, match=f"text.txt has sha256 {SHA256} instead of {'0' * 64}"):
        files.find_file("text.txt", url=f"{server}/text.txt", sha256="0" * 64)
    assert left() == []


@pytest.mark.parametrize("checksum", [SHA256, None])
def test_a_download_that_breaks_off_is_not_kept(server: str, checksum: str | None) -> None:
    with pytest.raises(UserError):
        files.find_file("short.txt", url=f"{server}/short.txt", sha256=checksum)
    assert "short.txt" not in left()


def test_what_the_server_does_not_have_is_refused(server: str) -> None:
    with pytest.raises(UserError, match=r"cannot be reached \(.*File not found"):
        files.find_file("other.txt", url=f"{server}/other.txt")
    assert left() == []


def test_several_at_once_download_one_file(server: str) -> None:
    found: list[Path] = []
    find = functools.partial(files.find_file, "text.txt", url=f"{server}/text.txt", sha256=SHA256)
    threads = [threading.Thread(target=lambda: found.append(find())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert {path.read_bytes() for path in found} == {CONTENT}


def test_the_cache_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert files.cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("SEQLAB_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert files.cache_folder() == tmp_path / "xdg" / "seqlab"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert files.cache_folder() == tmp_path / ".cache" / "seqlab"


def test_a_folder_in_the_place_of_a_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is a folder: name a file in it"):
        files.find_file(str(tmp_path))


def test_a_path_that_begins_with_a_variable_or_a_home_is_expanded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MINE", str(tmp_path / "mine"))
    assert files.expand_path("~/runs") == tmp_path / "runs"
    assert files.expand_path("$MINE/runs") == tmp_path / "mine" / "runs"
    assert files.expand_path("${MINE}") == tmp_path / "mine"
    for other in ("a $MINE/b", "/a/$MINE", "x~", "$NOSUCH/a"):
        assert str(files.expand_path(other)) == other


@pytest.mark.parametrize(
    "value", ["1e-3", "1e3", "-2.5E+4", "1.", "0.1", ".5", "yes", "null", "12:30", 1e-3, 1e300, 0.1, None]
)
def test_what_is_written_as_yaml_is_read_as_it_was(value: object, tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(files.dump_yaml({"a": value, "b": [value]}))
    assert files.read_yaml(tmp_path / "x.yaml") == {"a": value, "b": [value]}


def test_yaml_as_people_write_it(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("a: 1e-3\nb: 2E5\nc: 0.5\nd: 1_000e2\ne: x1e3\n")
    assert files.read_yaml(tmp_path / "x.yaml") == {"a": 0.001, "b": 2e5, "c": 0.5, "d": 1e5, "e": "x1e3"}
    (tmp_path / "x.yaml").write_text("a: {b: 1, b: 2}\n")
    with pytest.raises(UserError, match="b stands twice"):
        files.read_yaml(tmp_path / "x.yaml")


LOCK = "import sys; from pathlib import Path; from seqlab.files import lock_file\n" + (
    "with lock_file(Path(sys.argv[1])): print('held', flush=True); sys.stdin.readline()"
)


def test_who_waits_for_a_lock_says_so_and_gets_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(files, "SILENT_SECONDS", 0.2)
    words = [sys.executable, "-c", LOCK, tmp_path / "file"]
    holder = in_group(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout
    assert holder.stdout.readline() == "held\n"
    threading.Timer(1.0, holder.communicate, ["\n"]).start()
    with files.lock_file(tmp_path / "file", "waiting for another"):
        assert holder.wait() == 0
    assert capsys.readouterr().err == "waiting for another\n"
    with files.lock_file(tmp_path / "file", "waiting for another"):
        pass
    assert not capsys.readouterr().err
