"""Converts bytes and file names to readable text, and shortens text to a number of bytes."""

from __future__ import annotations

import codecs
import os

ELLIPSIS = "…"
#: Bytes of a verdict's `detail`, at most.
DETAIL_BYTES = 300


def text_of(data: bytes) -> str:
    """Return the text of a UTF-8 file, without its byte-order mark. Raise ValueError if it is not UTF-8."""
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
    """Return a file name as printable UTF-8. Characters that cannot be printed are escaped, as in `\\xfc`."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


def end_of(text: str, most: int) -> str:
    """Shorten a text to at most `most` bytes of UTF-8. An ellipsis replaces the beginning that is cut off."""
    data = text.encode()
    if len(data) <= most:
        return text
    return ELLIPSIS + data[len(data) - most + len(ELLIPSIS.encode()) :].decode("utf-8", "ignore")


def fitted(text: str, most: int) -> str:
    """Make a text printable and at most `most` bytes long in UTF-8. An ellipsis replaces the cut end."""
    data = (text if text.isprintable() else readable(text)).encode()
    if len(data) <= most:
        return data.decode()
    return data[: most - len(ELLIPSIS.encode())].decode("utf-8", "ignore") + ELLIPSIS
