"""Bytes and names that people gave into text that everyone can read."""

from __future__ import annotations

import codecs
import os

ELLIPSIS = "…"
DETAIL_BYTES = 300  # of the words that say what was wrong with a part


def text_of(data: bytes) -> str:
    """The text of a file in UTF-8, with a byte-order mark or without; ValueError says what another one is."""
    try:
        text = data.removeprefix(codecs.BOM_UTF8).decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"not UTF-8: found the byte 0x{data[error.start]:02x} in line {line}: save the file as UTF-8"
        ) from error
    if "\0" in text:
        raise ValueError("not UTF-8: found zero bytes, as UTF-16 has them: save the file as UTF-8")
    return text


def readable(name: str) -> str:
    """A file's name as people can read it and UTF-8 can hold it; whatever else is in it as `\\xfc`."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


def end_of(text: str, most: int) -> str:
    """The text, or an ellipsis and its end, in at most so many bytes of UTF-8."""
    data = text.encode()
    if len(data) <= most:
        return text
    return ELLIPSIS + data[len(data) - most + len(ELLIPSIS.encode()) :].decode("utf-8", "ignore")


def fitted(text: str, most: int) -> str:
    """The text, readable, or its beginning and an ellipsis, in at most so many bytes of UTF-8."""
    data = (text if text.isprintable() else readable(text)).encode()
    if len(data) <= most:
        return data.decode()
    return data[: most - len(ELLIPSIS.encode())].decode("utf-8", "ignore") + ELLIPSIS
