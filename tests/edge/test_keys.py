"""The keys by which a line and its subscribers know each other."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import zmq.auth

from edge.errors import LineError
from edge.keys import allowed_keys, client_keys, line_pair, make_pair


def edge(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "edge", *words], capture_output=True, text=True, timeout=60)


def test_a_pair_is_two_files_of_which_one_is_secret(tmp_path: Path) -> None:
    """Only its owner can read the secret one, and nothing secret is in the public one or on the screen."""
    done = edge("keys", "new", "plc-1", "--folder", str(tmp_path / "keys"))
    assert done.returncode == 0, done.stderr
    public, secret = tmp_path / "keys/plc-1.key", tmp_path / "keys/plc-1.key_secret"
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o700
    assert secret.stat().st_mode & 0o777 == 0o600
    _, key = zmq.auth.load_certificate(secret)
    assert key is not None
    assert key.decode() not in public.read_text() + done.stdout + done.stderr
    assert zmq.auth.load_certificate(public) == (zmq.curve_public(key), None)


def test_a_pair_for_the_line_says_what_to_do_with_it(tmp_path: Path) -> None:
    """The line's pair has a folder for the keys of others beside it."""
    done = edge("keys", "new", "line", "--folder", str(tmp_path))
    assert f'keys = "{tmp_path}"' in done.stdout
    assert allowed_keys(tmp_path) == {}
    assert line_pair(tmp_path).secret.decode() not in done.stdout


@pytest.mark.parametrize("left", [".key", ".key_secret"])
def test_a_pair_is_never_written_over(tmp_path: Path, left: str) -> None:
    """Whoever has its public key would no longer be let in."""
    (tmp_path / f"plc-1{left}").write_text("")
    done = edge("keys", "new", "plc-1", "--folder", str(tmp_path))
    assert done.returncode == 1
    assert f"plc-1{left}: is there already" in done.stderr


@pytest.mark.parametrize("name", ["../plc", "", "a/b", ".hidden", "x" * 32, "a b"])
def test_a_name_stays_in_its_folder(tmp_path: Path, name: str) -> None:
    """It becomes part of a file's name."""
    with pytest.raises(LineError, match="is no name of a key"):
        make_pair(tmp_path, name)
    assert not list(tmp_path.iterdir())


def test_the_secret_of_a_key_is_not_shown(tmp_path: Path) -> None:
    """In no log and no traceback."""
    make_pair(tmp_path, "line")
    pair = line_pair(tmp_path)
    assert pair.secret.decode() not in repr(pair)


def test_a_subscriber_has_one_pair_and_the_key_of_its_line(tmp_path: Path) -> None:
    """What is missing is said, with what to do."""
    make_pair(tmp_path / "line", "line")
    with pytest.raises(LineError, match=r"expected the one pair of this subscriber, found 0"):
        client_keys(tmp_path / "plc")
    make_pair(tmp_path / "plc", "plc-1")
    with pytest.raises(LineError, match=r"line\.key: cannot read the key.*: copy line\.key"):
        client_keys(tmp_path / "plc")
    (tmp_path / "plc/line.key").write_bytes((tmp_path / "line/line.key").read_bytes())
    keys = client_keys(tmp_path / "plc")
    assert keys.line == line_pair(tmp_path / "line").public
    make_pair(tmp_path / "plc", "plc-2")
    with pytest.raises(LineError, match="found 2"):
        client_keys(tmp_path / "plc")


def test_wrong_files_are_said(tmp_path: Path) -> None:
    """Each with its name: without a pair, one that others can read, and what is no key."""
    with pytest.raises(LineError, match=r"line\.key_secret: cannot read the key: .*edge keys new line"):
        line_pair(tmp_path)
    make_pair(tmp_path, "line")
    secret = tmp_path / "line.key_secret"
    secret.chmod(0o640)
    with pytest.raises(LineError, match="others can read this secret key"):
        line_pair(tmp_path)
    secret.chmod(0o600)
    for text in ("", "hello", 'public-key = "short"\nsecret-key = "short"', "\x00\xff" * 1000):
        secret.write_text(text)
        with pytest.raises(LineError, match="holds no such key"):
            line_pair(tmp_path)


def test_a_file_that_holds_no_key_allows_nobody(tmp_path: Path) -> None:
    """And takes no other key away."""
    with pytest.raises(LineError, match="allowed: cannot read the keys that are allowed"):
        allowed_keys(tmp_path)
    make_pair(tmp_path / "plc", "plc-1")
    (tmp_path / "allowed").mkdir()
    (tmp_path / "allowed/broken.key").write_text("nothing")
    (tmp_path / "allowed/folder.key").mkdir()
    (tmp_path / "allowed/plc-1.key").write_bytes((tmp_path / "plc/plc-1.key").read_bytes())
    assert list(allowed_keys(tmp_path).values()) == ["plc-1"]
