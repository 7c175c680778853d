"""Checks that an engine reproduces its bundle's golden frames, before the engine judges parts.

A golden frame is a picture with the FP32 model's outputs for it. INT8 and FP32 outputs differ a little, and so
do the outputs of one graph on two CPUs. So the bundle has tolerances for outputs and scores. A decision must
not differ at all.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ..bundle import Bundle, Golden
from ..engines.base import Engine, Image, Outputs, Region, Sample, ask
from ..errors import EngineError, NotReproduced
from ..image.warp import Warper
from ..manifest import ModelManifest, rejected_below
from .gallery import Gallery

#: Used as the threshold if the graphs of a draft that is not calibrated are compared.
EVEN_ODDS = 0.5


def check_golden(engine: Engine, bundle: Bundle) -> None:
    """Run every golden frame. Raise NotReproduced if outputs differ too much or a decision changes.

    The error names the frame, the expected value and the found value. Raise EngineError if a bundle has no
    golden frames; only a bundle of the method `constant` may have none.
    """
    manifest = bundle.manifest
    if not manifest.golden and manifest.method != "constant":
        raise EngineError(
            f"{bundle.folder}: expected golden cases to check the engine by, found none: pack the bundle"
        )
    for case in bundle.golden():
        if engine.warps_frames:
            _check_warp(engine, manifest, case)
        found = judge(engine, manifest, case.image, case.master)
        where = f"golden frame {case.name} on {engine.name} {engine.precision}"
        check_numbers(where, found)
        for name, difference in differences(found, case.expected, manifest).items():
            tolerance = manifest.tolerances[engine.precision][name]
            if difference > tolerance:
                raise NotReproduced(
                    f"{where}: {name} differs by {difference:.4g} from the expected, more than {tolerance:g}: "
                    "this engine does not compute this model; set another engine or pack the bundle again"
                )
        flipped = decisions(found, manifest) != decisions(case.expected, manifest)
        if flipped.any():
            kind = manifest.kinds[int(flipped.argmax())]
            expected, got = (float(scores(o)[flipped.argmax()]) for o in (case.expected, found))
            raise NotReproduced(
                f"{where}: expected a score of {expected:.4f} for {kind!r}, found {got:.4f}: it crosses the "
                f"threshold {manifest.thresholds[kind]:g}; set another engine or pack the bundle again"
            )


def _check_warp(engine: Engine, manifest: ModelManifest, case: Golden) -> None:
    """Raise EngineError if outputs differ when the engine, instead of the CPU, warps a golden picture."""
    image = manifest.grid.cut(case.image)[0]
    planes = image[0, ::-1] if manifest.input.color == "rgb" else image[0]
    frame = np.ascontiguousarray(planes[0] if len(planes) == 1 else np.moveaxis(planes, 0, -1))
    warp = Warper(None, manifest.input).warp(frame.shape)
    reference = None
    if manifest.features and case.master is not None:
        reference = engine.reference(manifest.grid.cut(case.master)[0])
    plain = {name: np.array(output) for name, output in ask(engine, image, reference).items()}
    engine.submit(0, [Sample(frame, reference, warp, Region(warp))])
    (warped,) = engine.collect(0)
    for name, output in warped.items():
        if not np.array_equal(output, plain[name]):
            raise EngineError(
                f"golden frame {case.name} on {engine.name}: warped by the GPU it gives another {name} than "
                "warped by the CPU: delete the kernels in the bundle's engines/ and run trt-build build again"
            )


def judge(engine: Engine, manifest: ModelManifest, image: Image, master: Image | None) -> Outputs:
    """Judge a whole picture tile by tile. Return copies of the joined outputs; a matcher's include `score`.

    `image` is `(1, C, H, W)` uint8. `master` is the master in the same shape, None if the model takes none; for
    a matcher, V drawings `(V, C, H, W)`. Outputs are float32. The engine's lane 0 must be idle.
    """
    if manifest.matches_drawings:
        if master is None:
            raise EngineError(f"{manifest.name} compares with a drawing: received none")
        gallery = Gallery(engine, master[:, np.newaxis])
        found = {name: np.array(output) for name, output in ask(engine, image).items()}
        return found | gallery.score(found)
    grid = manifest.grid
    masters = [None] * grid.count if master is None else grid.cut(master)
    tiles = []
    for tile, of_master in zip(grid.cut(image), masters, strict=True):
        reference = None if of_master is None else engine.reference(of_master)
        tiles.append({name: np.array(output) for name, output in ask(engine, tile, reference).items()})
    return grid.join(tiles, manifest.stride)


def check_numbers(where: str, outputs: Outputs) -> None:
    """Raise NotReproduced if an output is not finite everywhere. The error begins with `where`."""
    for name, output in outputs.items():
        if not np.isfinite(output).all():
            raise NotReproduced(f"{where}: {name} is not a number everywhere: this engine cannot be used")


def differences(found: Outputs, expected: Outputs, manifest: ModelManifest) -> dict[str, float]:
    """Return the largest difference between found and expected values, for each output and for the `score`.

    Extents count only where the expected map reaches a threshold: others are not used. A score above twice
    the threshold counts as twice the threshold, since all such scores reject alike.
    """
    apart = {name: np.abs(found[name] - expected[name]) for name in manifest.outputs}
    if "extents" in apart:
        sure = (expected["map"] >= _limits(manifest)[:, np.newaxis, np.newaxis]).any(axis=1, keepdims=True)
        apart["extents"] = apart["extents"] * sure
    most = _limits(manifest) + np.abs(_limits(manifest))
    apart["score"] = np.abs(np.minimum(scores(found), most) - np.minimum(scores(expected), most))
    return {name: float(array.max()) for name, array in apart.items()}


def scores(outputs: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return the score for each kind of defect as `(K,)` float32.

    It is the model's own score if the model gives one, otherwise the highest value of that kind's map.
    """
    return outputs["score"] if "score" in outputs else outputs["map"][0].max(axis=(1, 2))


def decisions(outputs: Mapping[str, NDArray[np.float32]], manifest: ModelManifest) -> NDArray[np.bool_]:
    """Return for each kind of defect whether the outputs reject the part, as `(K,)` bool."""
    return scores(outputs) >= _limits(manifest)


def _limits(manifest: ModelManifest) -> NDArray[np.float32]:
    """Return the lowest rejected score of each kind as `(K,)` float32.

    If thresholds are unset, they come from EVEN_ODDS: a matcher accepts this cosine, others reject this score.
    """
    even = rejected_below(EVEN_ODDS) if manifest.matches_drawings else EVEN_ODDS
    thresholds = manifest.thresholds or dict.fromkeys(manifest.kinds, even)
    return np.array([thresholds[kind] for kind in manifest.kinds], np.float32)
