"""Defines the types of keys that several sections of a recipe have: names, numbers, places in a frame."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from ..endpoints import MOST_PORT

PositiveInt = Annotated[int, Meta(ge=1)]
Port = Annotated[int, Meta(ge=0, le=MOST_PORT)]
Rate = Annotated[float, Meta(ge=0, le=1)]
Crop = Annotated[
    tuple[int, int, int, int], Meta(description="a list of 4 whole numbers: x, y, width and height in pixels")
]
Tiles = Annotated[
    tuple[PositiveInt, PositiveInt],
    Meta(description="a list of 2 whole numbers from 1 on: columns and rows"),
]
#: The colour filters over the first 2x2 pixels of a raw frame, rows first.
Bayer = Literal["rggb", "grbg", "gbrg", "bggr"]
Name = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,30}\Z",
        description="a name of letters, digits, - and _, starting with a letter or digit, at most 31",
    ),
]
Header = Annotated[
    str,
    Meta(pattern=r"^[A-Za-z0-9_-]{0,60}\Z", description="the name of an HTTP header, such as X-Frame-Number"),
]


class Section(Struct, frozen=True, forbid_unknown_fields=True):
    pass
