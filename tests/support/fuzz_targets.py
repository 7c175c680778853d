"""What reads bytes that anybody may have written, by name and with seeds: it reads them or raises its error.

`benchmarks/fuzz.py` runs these targets on inputs that it makes from the seeds. Any other error is a fault.
"""

from __future__ import annotations

import atexit
import hashlib
import io
import json
import shutil
import sqlite3
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import msgspec
import numpy as np
from bundles import KINDS, write_comparator
from numbered import jpeg, picture
from parts import HEARTBEAT, VERDICT, part_of

from edge.bundle import MANIFEST, Bundle, read_model
from edge.errors import (
    BundleError,
    EdgeError,
    JournalError,
    PictureError,
    RecipeError,
    RecordingError,
    WireError,
)
from edge.journal.reading import verify
from edge.line.control import answer_to
from edge.manifest_file import parse_manifest
from edge.messages import Frame, Input, Prediction, Refused, Tensor, Unknown
from edge.pictures import decode
from edge.recipe_file import read_recipe
from edge.recorder.box import Box
from edge.sources.streams.multipart import Splitter
from edge.stages.inbox import is_sound
from edge.subscription.protocol import answer_from, question_from
from edge.wire import VERSION, alarm_from, body_of, heartbeat_from, pack, unpack, verdict_from

RUN = bytes(8)


@dataclass(frozen=True, kw_only=True)
class Target:
    """`read` takes any bytes and raises nothing but `allowed`; the seeds are bytes that it reads."""

    read: Callable[[bytes], object]
    allowed: tuple[type[EdgeError], ...]
    seeds: Callable[[], Mapping[str, bytes]]

    def __call__(self, data: bytes) -> None:
        with suppress(*self.allowed):
            self.read(data)


@cache
def _scratch() -> Path:
    """A folder for the files that targets read, removed at the end."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@cache
def _bundle() -> Path:
    return write_comparator(_scratch() / "bundle", KINDS)


def _wire(data: bytes) -> None:
    """A message that is read is the same after it was written again."""
    message = unpack(bytes((VERSION,)) + RUN + data, RUN)
    if isinstance(message, (Tensor, Prediction, Unknown)):
        is_sound(message)
    assert unpack(pack(message, RUN), RUN) == message or "nan" in repr(message)


def _wire_seeds() -> dict[str, bytes]:
    part = part_of(3)
    inputs = (
        Input(to_frame=(1, 0, 0, 0, 1, 0), registration_px=0.1),
        Refused(reason="dark", detail="no light"),
    )
    messages = {
        "frame": Frame(part=part, shape=(64, 64), done_ns={"capture": 5}),
        "tensor": Tensor(part=part, inputs=inputs, done_ns={}),
        "prediction": Prediction(part=part, inputs=inputs, engine_ns=7, done_ns={"infer": 2}),
        "unknown": Unknown(part=part, reason="late", detail="no answer", done_ns={}),
    }
    return {name: pack(message, RUN)[1 + len(RUN) :] for name, message in messages.items()}


def _published(data: bytes) -> None:
    for read in (verdict_from, heartbeat_from, alarm_from):
        with suppress(WireError):
            body_of(read(data))


def _published_seeds() -> dict[str, bytes]:
    return {"verdict": body_of(VERDICT), "heartbeat": body_of(HEARTBEAT)}


def _question(data: bytes) -> None:
    for read in (question_from, answer_from):
        with suppress(WireError):
            read(data)


def _question_seeds() -> dict[str, bytes]:
    return {
        "replay": b'{"ask": "replay", "run": "00ff00ff00ff00ff", "first": 1, "last": 9}',
        "confirm": b'{"ask": "confirm", "name": "plc-1", "run": "00ff00ff00ff00ff", "number": 7}',
        "answer": b'{"answer": "replay", "run": "00ff00ff00ff00ff", "upto": 9}',
    }


def _request(data: bytes) -> None:
    answer = json.loads(answer_to(data, {"echo": lambda keys: {"keys": sorted(keys)}}))
    assert answer.keys() in ({"answer"}, {"error"})


def _request_seeds() -> dict[str, bytes]:
    return {"echo": b'{"command": "echo", "text": "a"}', "unknown": b'{"command": "stop"}', "none": b"[1, 2]"}


def _recipe(data: bytes) -> None:
    path = _scratch() / "recipe.toml"
    path.write_bytes(data)
    read_recipe(path)


ONE = """
line = "a"
bundle = "b"
[source]
kind = "folder"
files = "f/{view}.png"
width = 64
height = 64
[timing]
deadline_ms = 200
[rule]
thresholds = {spot = 0.5}
[rule.unknown]
late = "reject"
[publish]
endpoints = ["tcp://127.0.0.1:5571", "ipc:///tmp/v.ipc"]
[preprocess]
crop = [0, 0, 64, 64]
"""
SEVERAL = """
line = "a"
[belt]
by = "time"
[ejector]
at = 480
lead_ms = 12
min_gap = 30
[journal]
keep_days = 3
[[camera]]
name = "top"
[camera.source]
kind = "synthetic"
width = 64
height = 64
[[camera]]
name = "side"
at = 120
window = 10
[camera.source]
kind = "video"
address = "rtsp://u:p@host:554/x"
width = 64
height = 64
[[judge]]
name = "j"
bundle = "b"
"""


def _recipe_seeds() -> dict[str, bytes]:
    return {"one camera": ONE.encode(), "several cameras": SEVERAL.encode()}


def _manifest(data: bytes) -> None:
    parse_manifest(data)


def _manifest_seeds() -> dict[str, bytes]:
    old = Path(__file__).parents[1] / "edge" / "manifest-of-format-1.json"
    return {"packed": (_bundle() / MANIFEST).read_bytes(), "of format 1": old.read_bytes()}


def _bundle_file(data: bytes) -> None:
    """A bundle whose golden picture or outputs are these bytes, as its manifest says."""
    folder = _scratch() / "changed"
    if not folder.exists():
        shutil.copytree(_bundle(), folder)
    kind, data = data[:1], data[1:]
    path = "golden/clean.png" if kind == b"p" else "golden/clean.npz"
    manifest = msgspec.json.decode((_bundle() / MANIFEST).read_bytes())
    told = {"path": path, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    case = next(case for case in manifest["golden"] if "clean" in case["frame"]["path"])
    case["frame" if kind == b"p" else "expected"] = told
    (folder / path).write_bytes(data)
    (folder / MANIFEST).write_bytes(msgspec.json.encode(manifest))
    try:
        model = read_model(folder)
        assert isinstance(model, Bundle)
        model.golden()
    finally:
        (folder / path).write_bytes((_bundle() / path).read_bytes())


def _bundle_file_seeds() -> dict[str, bytes]:
    golden = _bundle() / "golden"
    arrays = io.BytesIO()
    np.savez(arrays, **dict(np.load(golden / "clean.npz")))
    return {
        "picture": b"p" + (golden / "clean.png").read_bytes(),
        "packed outputs": b"n" + (golden / "clean.npz").read_bytes(),
        "outputs": b"n" + arrays.getvalue(),
    }


def _picture(data: bytes) -> None:
    decode(data, "a picture")


def _picture_seeds() -> dict[str, bytes]:
    formats = {"png": ".png", "tiff": ".tiff", "bmp": ".bmp", "pgm": ".pgm", "webp": ".webp"}
    small = picture(100)[16:40, 24:48]
    found = {name: cv2.imencode(ending, small)[1].tobytes() for name, ending in formats.items()}
    progressive = cv2.imencode(
        ".jpg", small, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_RST_INTERVAL, 4]
    )
    return found | {"jpeg": jpeg(100), "progressive": progressive[1].tobytes()}


def _multipart(data: bytes) -> None:
    """In pieces, of which the first byte says the length; all bytes come out at most once."""
    length, data = 1 + (data[0] if data else 0), data[1:]
    splitter = Splitter("frame")
    parts = [part for at in range(0, len(data), length) for part in splitter.feed(data[at : at + length], 1)]
    parts += splitter.end()
    assert sum(len(part.data) for part in parts) <= len(data)


def _multipart_seeds() -> dict[str, bytes]:
    one = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: 6\r\n\r\nabcdef\r\n"
    free = b"--frame\r\n\r\n" + jpeg(8)[:300] + b"\r\n--frame--\r\n"
    return {"with lengths": b"\x07" + one + one, "without": b"\xff" + free}


def _box(data: bytes) -> None:
    path = _scratch() / "black.box"
    path.write_bytes(data)
    with Box(path) as box:
        box.head()
        for row in box.rows():
            for seen in row.seen:
                if seen.frame is not None:
                    box.frame(seen.frame)


def _box_seeds() -> dict[str, bytes]:
    found = io.BytesIO()
    part = msgspec.to_builtins(part_of(3))
    row = {"number": 1, "topic": "accept.a", "seen": [{"part": part, "frame": "f.png"}], "verdict": {}}
    with zipfile.ZipFile(found, "w") as file:
        file.writestr("box.json", '{"v": 1}')
        file.writestr("parts.jsonl", json.dumps(row))
        file.writestr("f.png", cv2.imencode(".png", picture(4))[1].tobytes())
    return {"box": found.getvalue()}


def _journal(data: bytes) -> None:
    path = _scratch() / "journal.sqlite"
    path.write_bytes(data)
    verify(path)


def _journal_seeds() -> dict[str, bytes]:
    path = _scratch() / "other.sqlite"
    path.unlink(missing_ok=True)
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE verdict (number INTEGER, body TEXT)")
        database.execute("INSERT INTO verdict VALUES (1, 'x')")
    database.close()
    return {"of others": path.read_bytes()}


TARGETS: dict[str, Target] = {
    "wire": Target(read=_wire, allowed=(WireError,), seeds=_wire_seeds),
    "published": Target(read=_published, allowed=(), seeds=_published_seeds),
    "question": Target(read=_question, allowed=(), seeds=_question_seeds),
    "request": Target(read=_request, allowed=(), seeds=_request_seeds),
    "recipe": Target(read=_recipe, allowed=(RecipeError,), seeds=_recipe_seeds),
    "manifest": Target(read=_manifest, allowed=(BundleError,), seeds=_manifest_seeds),
    "bundle": Target(read=_bundle_file, allowed=(BundleError,), seeds=_bundle_file_seeds),
    "picture": Target(read=_picture, allowed=(PictureError,), seeds=_picture_seeds),
    "multipart": Target(read=_multipart, allowed=(), seeds=_multipart_seeds),
    "box": Target(read=_box, allowed=(RecordingError,), seeds=_box_seeds),
    "journal": Target(read=_journal, allowed=(JournalError,), seeds=_journal_seeds),
}
