"""A camera's password stands in no verdict, log or error."""

from __future__ import annotations

import pytest

from edge.documents.address import without_secrets


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("http://user:password@camera/stream", "http://***@camera/stream"),
        ("rtsp://admin:p@ss@10.0.0.7:554/live", "rtsp://***@10.0.0.7:554/live"),
        ("rtsp://admin:pa/ss@10.0.0.7/live", "rtsp://***@10.0.0.7/live"),
        (
            "http://camera/video.cgi?loginuse=a&loginpas=b&fps=5",
            "http://camera/video.cgi?loginuse=***&loginpas=***&fps=5",
        ),
        ("http://camera/live?pwd=hidden", "http://camera/live?pwd=***"),
        ("http://camera/live?access_token=hidden;x=1", "http://camera/live?access_token=***;x=1"),
        (
            'rtspsrc location="rtsp://a:b@camera/live" user-id=a user-pw="b c" ! appsink',
            'rtspsrc location="rtsp://***@camera/live" user-id=*** user-pw=*** ! appsink',
        ),
    ],
    ids=["user and password", "an @ in it", "a / in it", "query", "pwd", "token", "gstreamer"],
)
def test_secrets_are_hidden(address: str, told: str) -> None:
    """What is left says which camera it is."""
    assert without_secrets(address) == told
    assert without_secrets(f"{address}: cannot be opened") == f"{told}: cannot be opened"


@pytest.mark.parametrize(
    "address",
    [
        "/dev/video0",
        "http://camera:8080/path@2x.mjpg",
        "http://[::1]:8080/a@b",
        "/films/a@b.mp4",
        "rtsp://camera/live?fps=5&width=640",
        "videotestsrc pattern=ball ! appsink",
    ],
)
def test_an_address_without_secrets_stays(address: str) -> None:
    """A device, file or open camera is named in full."""
    assert without_secrets(address) == address
