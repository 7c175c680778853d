"""The systemd unit as systemd itself reads it, without starting it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[2] / "deploy" / "systemd" / "linejudge@.service"

pytestmark = pytest.mark.skipif(
    not shutil.which("systemd-analyze"), reason="no systemd-analyze: apt-get install systemd"
)


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit with a command that exists here too; systemd asks for it."""
    text = UNIT.read_text()
    assert "ExecStart=/opt/linejudge/bin/edge run /etc/linejudge/%i.toml\n" in text
    copy = tmp_path / UNIT.name
    copy.write_text(text.replace("/opt/linejudge/bin/edge", sys.executable))
    return copy


def test_systemd_has_nothing_to_say(unit):
    """Every key is known and every value can be read: a warning would be a protection that is not there."""
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], text=True, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def security(unit: Path, option: str) -> subprocess.CompletedProcess[str]:
    words = ["systemd-analyze", "security", "--offline=true", option, "--no-pager", unit]
    return subprocess.run(words, text=True, capture_output=True)


def test_a_line_that_is_broken_into_can_do_little(unit):
    """systemd's own measure of exposure stays below 3 of 10."""
    done = security(unit, "--threshold=30")
    assert done.returncode == 0, done.stdout[-400:] + done.stderr


def test_what_the_line_needs_is_left_to_it(unit):
    """The hardening takes away neither cameras nor GPUs nor the real-time scheduler."""
    settings = {entry["name"]: entry for entry in json.loads(security(unit, "--json=short").stdout)}
    off = ("MemoryDenyWriteExecute", "PrivateDevices", "PrivateNetwork", "ProcSubset", "RestrictRealtime")
    for name in off:
        assert settings[f"{name}="]["set"] is False, name
    for device in ("char-video4linux", "char-usb_device", "char-drm", "char-nvidia*", "char-nvhost*"):
        assert f"{device}:rw" in settings["DeviceAllow="]["description"]
