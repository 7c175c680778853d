"""Finds the files of a folder of pairs, and reports those that belong to no pair."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edge.text import readable, text_of
from trt_build.data.errors import DatasetError, raise_mistakes
from trt_build.data.pictures import entries, is_picture, nested_files, warn_left_out

#: The file that lists the kinds of defects, one name a line.
KINDS_FILE = "kinds.txt"
#: Files by their id and role. The role is `temp`, `test`, `txt`, `mask`, `mask/<kind>`, or empty for others.
Files = dict[tuple[str, str], list[Path]]


def find_files(folder: Path) -> Files:
    """Return the paths of all files in the folder and in the folders of masks, by their id and role."""
    files: Files = {}
    for path in entries(folder):
        if path.name == KINDS_FILE:
            continue
        if _holds_masks(path):
            for mask in entries(path):
                files.setdefault((mask.stem.removesuffix("_mask"), f"mask/{readable(path.name)}"), []).append(
                    mask
                )
            continue
        name, _, role = path.stem.rpartition("_")
        if path.suffix.lower() == ".txt":
            name, role = path.stem, "txt"
        elif role not in ("temp", "test", "mask") or not is_picture(path):
            name, role = path.stem, ""
        files.setdefault((name, role), []).append(path)
    return files


def labels_of(files: Files, name: str) -> dict[str, Path]:
    """Return the label files of one pair by their role: `txt`, `mask` or `mask/<kind>`."""
    return {role: paths[0] for (id_, role), paths in files.items() if id_ == name and _is_label(role)}


def names_of(files: Files) -> set[str]:
    """Return the ids of all pairs that have a label."""
    return {name for name, role in files if _is_label(role)}


def misplaced(folder: Path, files: Files) -> Iterator[str]:
    """Yield a message for each picture that belongs to no pair or is in an inner folder."""
    for message in nested_files(folder):
        if not any(message.startswith(f"{path}:") for path in entries(folder) if _holds_masks(path)):
            yield message
    labelled = names_of(files)
    for (name, role), paths in files.items():
        if not role:
            continue
        if name not in labelled:
            yield (
                f"{paths[0]}: has no label beside it: write {name}.txt with a line for each defect, empty "
                f"for a board without defects, or {name}_mask.png, black where nothing is wrong"
            )
        for other in paths[1:]:
            yield f"{other}: {paths[0].name} is of the same name: rename one of them, or take it out"
    others = [path for (_, role), paths in files.items() if not role for path in paths if path.is_file()]
    for path in filter(is_picture, others):
        yield f"{path}: expected <id>_temp, <id>_test or <id>_mask as its name: rename it, or take it out"
    warn_left_out([path for path in others if not is_picture(path)], "since OpenCV finds no picture in them")


def listed_kinds(folder: Path) -> tuple[str, ...] | None:
    """Return the names in the folder's `kinds.txt`, in order. Return None if there is no such file.

    Raise DatasetError if the file is empty, is not UTF-8 or names a kind twice.
    """
    path = folder / KINDS_FILE
    if not path.exists():
        return None
    try:
        names = [line.strip() for line in text_of(path.read_bytes()).splitlines() if line.strip()]
    except ValueError as error:
        raise DatasetError(f"{path}: {error}") from error
    if not names:
        raise DatasetError(f"{path}: expected the name of a kind of defect in each line, found none")
    raise_mistakes(
        f"{path}: names {name!r} twice: delete one of them"
        for name in dict.fromkeys(names)
        if names.count(name) > 1
    )
    raise_mistakes(
        f"{path}: expected names without spaces, found {name!r}: write it with a hyphen"
        for name in names
        if len(name.split()) > 1
    )
    return tuple(names)


def _holds_masks(path: Path) -> bool:
    """Return whether the path is a folder that has masks `<id>_mask.*` and nothing else in it."""
    inner = entries(path)
    return bool(inner) and all(one.is_file() and one.stem.endswith("_mask") for one in inner)


def _is_label(role: str) -> bool:
    return role == "txt" or role.startswith("mask")
