"""Reads a line's judges (its models), and checks that their files have not changed since the line started."""

from __future__ import annotations

from dataclasses import replace

from ...errors import LineError
from ...image.masters import digest_of_picture
from ...judges.judge import Judge, by_camera, digest_of, read_judges
from ..plan import Plan


def judges_of(plan: Plan) -> dict[str, tuple[Judge, ...]]:
    """Return each camera's judges. Raise LineError if a bundle has changed since the line was started."""
    judges = read_judges(plan.recipe)
    if digest_of(judges) != plan.bundle_digest:
        names = ", ".join(dict.fromkeys(judge.choice.bundle for judge in judges))
        raise LineError(f"{names}: a bundle has changed since the line was started: restart it")
    return by_camera([replace(judge, pictures=plan.pictures) for judge in judges])


def looking_judges(plan: Plan) -> dict[str, tuple[Judge, ...]]:
    """Return each camera's judges for a process that also reads their masters and drawings.

    Raises LineError if a bundle, a master or a drawing has changed since the line was started.
    """
    for path, digest in plan.pictures.items():
        if digest_of_picture(path) != digest:
            raise LineError(f"{path}: has changed since the line was started: restart the line")
    return judges_of(plan)
