"""Models of a hub, one that stands in on localhost: a download, what goes wrong with one, and the cache afterwards."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from commands import write_tokenizer
from seqlab.models.llama import Llama
from seqlab.weights.hf_folder import find_writing_family
from seqlab.weights.hugging_face import llama

pytest.importorskip("huggingface_hub")

COMMIT = "c" * 40
NAME = "someone/small"


class Hub(ThreadingHTTPServer):
    """Serves a folder as the hub serves a model; while `is_broken`, half of every large file."""

    folder: Path
    is_broken = False


class Handler(BaseHTTPRequestHandler):
    """What huggingface_hub asks for."""

    server: Hub

    def log_message(self, *args: object) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        parts = self.path.split("?")[0].strip("/").split("/")
        if parts[:2] == ["api", "models"] and "/".join(parts[2:4]) == NAME and parts[-1] in ("main", COMMIT):
            names = [file.name for file in self.server.folder.iterdir()]
            files = [
                {"rfilename": name, "type": "file", "path": name, "size": self.read(name)[1], "oid": COMMIT}
                for name in names
            ]
            body = files if "tree" in parts else {"id": NAME, "sha": COMMIT, "siblings": files}
            self.answer(200, json.dumps(body).encode(), {"Content-Type": "application/json"})
        elif "/".join(parts[:2]) == NAME and parts[2] == "resolve":
            body, _ = self.read(parts[-1])
            etag = hashlib.sha256(body).hexdigest()
            self.answer(200, body, {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT})
        else:
            self.answer(404, b"", {"X-Error-Code": "RevisionNotFound" if NAME in self.path else "RepoNotFound"})

    def read(self, name: str) -> tuple[bytes, int]:
        body = (self.server.folder / name).read_bytes()
        return body, len(body)

    def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in (headers | {"Content-Length": str(len(body))}).items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            is_cut = self.server.is_broken and len(body) > 5000
            self.wfile.write(body[: len(body) // 2] if is_cut else body)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    folder = tmp_path / "served"
    write_tokenizer(folder)
    node = {
        "vocab_size": 280,
        "context_length": 64,
        "n_layer": 1,
        "n_head": 2,
        "n_kv_head": 1,
        "n_embd": 16,
        "n_inner": 32,
    }
    torch.manual_seed(0)
    model = Llama(**node)
    sizes = node | {"dropout": 0.0, "tie_embeddings": True}
    _, config = find_writing_family({"_target_": llama.MODEL} | sizes)
    (folder / "config.json").write_text(json.dumps(config))
    from safetensors.torch import save_file

    save_file(llama.to_hf(model.state_dict()), folder / "model.safetensors", {"format": "pt"})
    server = Hub(("127.0.0.1", 0), Handler)
    server.folder = folder
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def generate(hub: Hub, name: str, tmp_path: Path, **environment: str) -> subprocess.CompletedProcess:
    """`seqlab generate` with the stand-in as hub and an empty cache of its own."""
    known = {
        "HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}",
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_OFFLINE": "0",
    }
    words = [
        sys.executable,
        "-m",
        "seqlab",
        "generate",
        f"run=hf:{name}",
        "prompt=One note",
        "max_new_tokens=3",
        "device=cpu",
    ]
    environment = os.environ | known | {"HF_HUB_DOWNLOAD_TIMEOUT": "3"} | environment
    return subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, env=environment)


def test_a_model_of_the_hub_is_downloaded_once(hub: Hub, tmp_path: Path) -> None:
    done = generate(hub, NAME, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("One note")
    again = generate(hub, f"{NAME}@{COMMIT}", tmp_path, HF_HUB_OFFLINE="1")
    assert (again.returncode, again.stdout) == (0, done.stdout), again.stderr


@pytest.mark.long  # a process each
@pytest.mark.parametrize(
    ("name", "environment", "message"),
    [
        ("someone/smal", {}, "has no model someone/smal: check the name"),
        (f"{NAME}@v2", {}, "has no revision v2"),
        ("some one", {}, "is not a name of a model: write hf:<owner>/<model>"),
        (NAME, {"HF_HUB_OFFLINE": "1"}, "cannot be reached, and someone/small is not in the cache"),
        (NAME, {"HF_ENDPOINT": "http://127.0.0.1:9"}, "cannot be reached, and someone/small is not in the cache"),
    ],
)
def test_what_goes_wrong_is_a_sentence(
    name: str, environment: dict[str, str], message: str, hub: Hub, tmp_path: Path
) -> None:
    done = generate(hub, name, tmp_path, **environment)
    assert done.returncode == 1
    assert message in done.stderr.strip().splitlines()[-1], done.stderr
    assert "Traceback" not in done.stderr


def test_a_download_that_breaks_off_goes_on(hub: Hub, tmp_path: Path) -> None:
    hub.is_broken = True
    done = generate(hub, NAME, tmp_path)
    assert done.returncode == 1
    assert "was not downloaded" in done.stderr
    assert "Traceback" not in done.stderr
    hub.is_broken = False
    assert generate(hub, NAME, tmp_path).returncode == 0
