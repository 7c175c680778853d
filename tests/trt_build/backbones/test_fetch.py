"""Weights that are fetched are whole and found afterwards, or nothing is changed."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="needs torch, which only building models uses")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")


from trt_build.backbones.open import BackboneError
from trt_build.backbones.published import PUBLISHED, Published, cache_folder, fetch_backbone, find_backbone

PACKAGED = {name: source.package for name, source in PUBLISHED.items() if source.package}


@pytest.mark.parametrize("name", sorted(PACKAGED))
def test_what_a_package_brings_is_not_fetched(nowhere: Path, name: str) -> None:
    """The command says that there is nothing to download, and where the network is."""
    with pytest.raises(BackboneError, match=r"comes with the extra `build`: pip install 'linejudge\[build\]'"):
        fetch_backbone(name)
    assert not nowhere.exists()


BODY = bytes(range(256)) * 3000


class _Publisher(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/gone.bin":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY[:1000] if self.path == "/cut.bin" else BODY)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def publisher() -> Iterator[str]:
    """A server that gives out a file of three quarters of a megabyte; its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Publisher)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def at(url: str, sha256: str = hashlib.sha256(BODY).hexdigest()[:8]) -> Published:
    return Published(file="weights.bin", sha256=sha256, url=url)


def test_what_was_fetched_is_found(nowhere: Path, publisher: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One download, to the byte, into the place where `find_backbone` looks."""
    entry = at(f"{publisher}/weights.bin")
    path = fetch_backbone("resnet18", source=entry)
    assert path == cache_folder() / "weights.bin"
    assert path.read_bytes() == BODY
    monkeypatch.setitem(PUBLISHED, "resnet18", entry)
    assert find_backbone("resnet18") == path
    # A file that is already there is not fetched again.
    assert fetch_backbone("resnet18", source=at(f"{publisher}/gone.bin")) == path


@pytest.mark.parametrize(
    ("file", "sha256", "says"),
    [
        pytest.param(
            "weights.bin", "00000000", r"begins with 00000000, received [0-9a-f]{64}; nothing", id="altered"
        ),
        pytest.param("cut.bin", None, r"nothing was kept", id="cut short"),
        pytest.param("gone.bin", None, r"cannot be fetched: HTTP Error 404.*put it at", id="gone"),
    ],
)
def test_a_download_that_fails_leaves_nothing(
    tmp_path: Path, publisher: str, file: str, sha256: str | None, says: str
) -> None:
    """Neither half a file nor a wrong one is ever found under the name."""
    entry = at(f"{publisher}/{file}", sha256) if sha256 else at(f"{publisher}/{file}")
    with pytest.raises(BackboneError, match=says):
        fetch_backbone("resnet18", tmp_path, entry)
    assert list(tmp_path.iterdir()) == []


def test_a_fetch_that_fails_keeps_what_was_there(tmp_path: Path, publisher: str) -> None:
    """A wrong file is only replaced by the right one."""
    (tmp_path / "weights.bin").write_bytes(b"mine")
    with pytest.raises(BackboneError, match="cannot be fetched"):
        fetch_backbone("resnet18", tmp_path, at(f"{publisher}/gone.bin"))
    assert (tmp_path / "weights.bin").read_bytes() == b"mine"
    fetch_backbone("resnet18", tmp_path, at(f"{publisher}/weights.bin"))
    assert (tmp_path / "weights.bin").read_bytes() == BODY


def test_weights_that_nobody_publishes_say_whose_they_are(nowhere: Path) -> None:
    """Where nothing can be downloaded the person reads which file to look for."""
    with pytest.raises(BackboneError, match=r"google-coral/test_data.*SHA-256 ab037b56"):
        fetch_backbone("mobilenet_v2")
