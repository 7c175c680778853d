"""The bytes of a file that a person wrote into text."""

from __future__ import annotations

import codecs


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
