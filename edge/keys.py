"""Makes and reads key pairs for CURVE, which encrypts a connection and proves who is at its other end.

A pair is two files, in the form of ZeroMQ's certificates: `<name>.key` with the public key, for others, and
`<name>.key_secret` with both keys, for its owner alone.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

import zmq
import zmq.auth

from .errors import LineError

PUBLIC, SECRET = ".key", ".key_secret"
#: Name of the line's own pair. A subscriber has the public part of it beside its own pair.
LINE = "line"
#: Folder with the public keys of those who may connect to the line, beside the line's own pair.
ALLOWED = "allowed"
#: A name that may become part of a file's name.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,30}\Z")
_KEY_BYTES = 40  # 32 bytes in Z85


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A public key and its secret key, as 40 characters of Z85 each."""

    public: bytes
    secret: bytes = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class ClientKeys:
    """The keys of a subscriber: its own pair, and the public key that the line must prove to be its own."""

    own: Pair
    line: bytes

    def use(self, socket: zmq.Socket[bytes]) -> None:
        """Make the connections that the socket opens from now on use these keys."""
        socket.curve_publickey, socket.curve_secretkey = self.own.public, self.own.secret
        socket.curve_serverkey = self.line


def make_pair(folder: Path, name: str) -> Path:
    """Make a pair of keys in `folder`, and return the file with the public one.

    Only this user can read the secret file. Raise LineError if the name is wrong, or if a file of the pair
    exists already: whoever has its public key would no longer know this end.
    """
    if not NAME.match(name):
        raise LineError(
            f"{name!r} is no name of a key: write letters, digits, -, _ and ., at most 31, and begin with a "
            "letter or digit"
        )
    public, secret = zmq.curve_keypair()
    lines = f'curve\n    public-key = "{public.decode()}"\n'
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write(folder / f"{name}{SECRET}", f'{lines}    secret-key = "{secret.decode()}"\n', 0o600)
        _write(folder / f"{name}{PUBLIC}", lines, 0o644)
    except FileExistsError as error:
        raise LineError(f"{error.filename}: is there already: give the new pair another name") from error
    except OSError as error:
        raise LineError(f"{folder}: cannot write the keys: {error.strerror}") from error
    return folder / f"{name}{PUBLIC}"


def _write(path: Path, text: str, mode: int) -> None:
    opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    with open(opened, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def line_pair(folder: Path) -> Pair:
    """Return the line's own pair in `folder`. Raise LineError if it is missing or if others can read it."""
    return _pair(folder / f"{LINE}{SECRET}", f"make it by `edge keys new {LINE} --folder {folder}`")


def client_keys(folder: Path) -> ClientKeys:
    """Return the keys of a subscriber: the only pair in `folder`, and the public key of the line beside it.

    Raise LineError if there is not exactly one pair, or if a file is missing or wrong.
    """
    found = sorted(folder.glob(f"*{SECRET}"))
    if len(found) != 1:
        raise LineError(
            f"{folder}: expected the one pair of this subscriber, found {len(found)} files *{SECRET}: make one "
            f"by `edge keys new NAME --folder {folder}`, each in a folder of its own"
        )
    line = _key(
        folder / f"{LINE}{PUBLIC}", 0, f"copy {LINE}{PUBLIC} of the line's folder of keys to this folder"
    )
    return ClientKeys(own=_pair(found[0], "make it anew"), line=line)


def allowed_keys(folder: Path) -> dict[bytes, str]:
    """Return the names of those who may connect, by public key: the files `allowed/<name>.key` in `folder`.

    A file that holds no key allows nobody. Raise LineError if the folder cannot be read.
    """
    found = {}
    try:
        paths = sorted(path for path in (folder / ALLOWED).iterdir() if path.suffix == PUBLIC)
    except OSError as error:
        raise LineError(
            f"{folder / ALLOWED}: cannot read the keys that are allowed: {error.strerror}: make the folder, "
            "and put the public key of each subscriber there"
        ) from error
    for path in paths:
        try:
            found[_key(path, 0, "")] = path.stem
        except LineError:
            continue
    return found


def _pair(path: Path, remedy: str) -> Pair:
    public = _key(path, 0, remedy)
    if path.stat().st_mode & 0o077:
        raise LineError(f"{path}: others can read this secret key: `chmod 600 {path}`, or make a new pair")
    return Pair(public=public, secret=_key(path, 1, remedy))


def _key(path: Path, place: int, remedy: str) -> bytes:
    """Return the public key (`place` 0) or the secret key (1) in a file."""
    try:
        key = zmq.auth.load_certificate(path)[place]
    except OSError as error:
        raise LineError(f"{path}: cannot read the key: {error.strerror or error}: {remedy}") from error
    except ValueError:
        key = None
    if key is None or len(key) != _KEY_BYTES:
        raise LineError(f"{path}: holds no such key: {remedy}")
    return key
