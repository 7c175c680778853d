"""The files that a pattern of a folder source names, their order, and the view that each one's name tells."""

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
    """What a pattern with `*`, `**`, `?` and `{view}` may name, files and others, in no order."""
    found = glob.glob(pattern.replace("[", "[[]").replace("{view}", "*"), recursive=True)
    return [Path(name) for name in found]


def files_of(pattern: str) -> list[Path]:
    """The files that a pattern names, `part-9` before `part-10`."""
    return sorted((path for path in listed(pattern) if os.path.isfile(path)), key=natural)


def folder_of(pattern: str) -> Path:
    """The folder in which everything lies that a pattern can name."""
    return Path(re.split(r"[*?]|\{view\}", pattern)[0] + "x").parent


def check_folder(folder: Path) -> None:
    """Raise SourceError where there is no such folder, or none that can be read."""
    try:
        os.scandir(folder).close()
    except OSError as error:
        raise SourceError(
            f"{folder}: no such folder to watch: {error.strerror}: make it, mount it, or correct [source] files"
        ) from error


def natural(path: Path) -> list[tuple[int, str]]:
    """Sorts names as people count."""
    pieces = re.split(r"([0-9]+)", str(path))
    return [(int(piece), "") if at % 2 else (-1, piece) for at, piece in enumerate(pieces)]


def reference(path: Path) -> str:
    """A file's name as a verdict tells it."""
    return end_of(readable(str(path)), SOURCE_REF_BYTES)


class Views:
    """Finds the part of a file's name that stands for `{view}`; `default` where the pattern has none."""

    def __init__(self, pattern: str, default: str) -> None:
        first, *more = re.split(r"(\*\*/|\*\*|\*|\?|\{view\})", pattern)
        shape, self._asked = re.escape(first), False
        for piece in more:
            again = piece == "{view}" and self._asked  # it stands for the same everywhere
            self._asked |= piece == "{view}"
            shape += "(?P=view)" if again else _STANDS_FOR.get(piece, re.escape(piece))
        self._shape, self._default = re.compile(shape, re.DOTALL), default

    def of(self, path: Path) -> str:
        """The view, "" where the name does not tell it."""
        if not self._asked:
            return self._default
        match = self._shape.fullmatch(str(path))
        return readable(match["view"]) if match else ""
