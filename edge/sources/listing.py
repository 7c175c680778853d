"""Finds the files that a folder source's pattern matches, sorts them, and reads the view from their names."""

from __future__ import annotations

import glob
import os
import re
from pathlib import Path

from ..errors import SourceError
from ..messages import SOURCE_REF_BYTES
from ..text import end_of, readable

_STANDS_FOR = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]", "{view}": "(?P<view>[^/]+)"}


def listed(pattern: str) -> list[Path]:
    """Return the files and folders that match a pattern with `*`, `**`, `?` and `{view}`, in no order."""
    found = glob.glob(pattern.replace("[", "[[]").replace("{view}", "*"), recursive=True)
    return [Path(name) for name in found]


def files_of(pattern: str) -> list[Path]:
    """Return the files that match a pattern, with `part-9` before `part-10`."""
    return sorted((path for path in listed(pattern) if os.path.isfile(path)), key=natural)


def folder_of(pattern: str) -> Path:
    """Return the folder that holds everything that can match a pattern."""
    return Path(re.split(r"[*?]|\{view\}", pattern)[0] + "x").parent


def check_folder(folder: Path) -> None:
    """Raise SourceError if the folder does not exist or cannot be read."""
    try:
        os.scandir(folder).close()
    except OSError as error:
        raise SourceError(
            f"{folder}: no such folder to watch: {error.strerror}: make it, mount it, or correct [source] files"
        ) from error


def natural(path: Path) -> list[tuple[int, str]]:
    """Return a sort key that compares the numbers in a name by their value."""
    pieces = re.split(r"([0-9]+)", str(path))
    return [(int(piece), "") if at % 2 else (-1, piece) for at, piece in enumerate(pieces)]


def reference(path: Path) -> str:
    """Return a file's path as verdicts show it: readable, and cut at its beginning to the ledger's size."""
    return end_of(readable(str(path)), SOURCE_REF_BYTES)


class Views:
    """Reads the view from a file's path: the text in the place of `{view}`, or `default` without `{view}`."""

    def __init__(self, pattern: str, default: str) -> None:
        first, *more = re.split(r"(\*\*/|\*\*|\*|\?|\{view\})", pattern)
        shape, self._has_view = re.escape(first), False
        for piece in more:
            # A second `{view}` has to match the same text as the first.
            again = piece == "{view}" and self._has_view
            self._has_view |= piece == "{view}"
            shape += "(?P=view)" if again else _STANDS_FOR.get(piece, re.escape(piece))
        self._shape, self._default = re.compile(shape, re.DOTALL), default

    def of(self, path: Path) -> str:
        """Return the view, or "" if the path does not match the pattern."""
        if not self._has_view:
            return self._default
        match = self._shape.fullmatch(str(path))
        return readable(match["view"]) if match else ""
