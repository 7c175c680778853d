"""Finds the picture files that match a pattern of a recipe, sorts them, and reads the view from each path."""

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
    """Return all files and folders that match a pattern, unsorted. `{view}` in the pattern matches like `*`."""
    found = glob.glob(pattern.replace("[", "[[]").replace("{view}", "*"), recursive=True)
    return [Path(name) for name in found]


def files_of(pattern: str) -> list[Path]:
    """Return the files that match a pattern, sorted so that `part-9` comes before `part-10`."""
    return sorted((path for path in listed(pattern) if os.path.isfile(path)), key=natural)


def folder_of(pattern: str) -> Path:
    """Return the deepest folder that has, itself or in subfolders, every file that the pattern can match."""
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
    """Return a key for sorting paths. The numbers in a path are compared by value, so 9 comes before 10."""
    pieces = re.split(r"([0-9]+)", str(path))
    return [(int(piece), "") if at % 2 else (-1, piece) for at, piece in enumerate(pieces)]


def reference(path: Path) -> str:
    """Return the path as verdicts show it: as readable text, without its beginning if it is too long."""
    return end_of(readable(str(path)), SOURCE_REF_BYTES)


class Views:
    """Reads the view of a picture from its path: the text that `{view}` in `pattern` matches.

    If the pattern has no `{view}`, the view is the argument `default`.
    """

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
        """Return the view of the picture at `path`, or "" if the path does not match the pattern."""
        if not self._has_view:
            return self._default
        match = self._shape.fullmatch(str(path))
        return readable(match["view"]) if match else ""
