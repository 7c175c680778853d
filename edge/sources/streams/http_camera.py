"""Reads network cameras that send MJPEG over HTTP. Each part of the multipart answer is one frame."""

from __future__ import annotations

import logging
import time
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException, HTTPResponse
from typing import cast
from urllib.parse import unquote, urlsplit, urlunsplit

from ...documents.address import without_secrets
from ...errors import SourceError
from ..stream_frame import StreamFrame, encoded
from .multipart import BodyPart, Splitter

log = logging.getLogger(__name__)

_CHUNK = 64 * 2**10


def open_http(address: str, timeout_s: float, counter: str = "") -> Iterator[StreamFrame] | None:
    """Return the frames of the camera at an address, or None if its answer is not multipart.

    `counter` is the name of the header in which each frame has the camera's own number; empty if it has none.
    Raises SourceError if nothing answers. The iterator over the frames raises SourceError if the answer ends,
    or if nothing comes for `timeout_s` seconds.
    """
    name = without_secrets(address)
    bare, opener = _opener(address)
    try:
        response = cast(HTTPResponse, opener.open(bare, timeout=timeout_s))
    except (OSError, HTTPException, ValueError) as error:
        raise SourceError(
            f"{name}: cannot be opened: {without_secrets(str(error))}: is it reachable?"
        ) from error
    if not response.headers.get_content_type().startswith("multipart/"):
        response.close()
        return None
    boundary = response.headers.get_boundary()
    if not boundary:
        response.close()
        raise SourceError(f"{name}: expected a boundary in the answer's Content-Type, found none")
    return _frames(response, Splitter(boundary), name, counter)


def _opener(address: str) -> tuple[str, urllib.request.OpenerDirector]:
    """Return the address without user and password, and an opener that sends both if the camera asks."""
    split = urlsplit(address)
    credentials, _, host = split.netloc.rpartition("@")
    bare = urlunsplit(split._replace(netloc=host))
    user, _, password = credentials.partition(":")
    passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
    if credentials:
        passwords.add_password(None, bare, unquote(user), unquote(password))
    return bare, urllib.request.build_opener(
        # A camera is on the line's own network: no proxy.
        urllib.request.ProxyHandler({}),
        urllib.request.HTTPBasicAuthHandler(passwords),
        urllib.request.HTTPDigestAuthHandler(passwords),
    )


def _frames(response: HTTPResponse, splitter: Splitter, name: str, counter: str) -> Iterator[StreamFrame]:
    came, is_told = 0, False

    def frame(part: BodyPart) -> StreamFrame:
        nonlocal came, is_told
        came += 1
        count = part.number(counter) if counter else -1
        if counter and count < 0 and not is_told:
            is_told = True
            log.error("%s: frame %d has no number in its header %r: see [source] counter", name, came, counter)
        return encoded(part.data, name, f"frame {came}", part.wrong, part.since_ns, count)

    with response:
        try:
            while data := response.read1(_CHUNK):
                yield from map(frame, splitter.feed(data, time.monotonic_ns()))
            why = "the stream ended"
        except (OSError, HTTPException) as error:
            why = f"the stream broke off: {error or type(error).__name__}"
        yield from map(frame, splitter.end())
    raise SourceError(f"{name}: {why}: check camera and cable")
