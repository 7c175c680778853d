"""Trains a matcher, and measures it on products or characters that it has never seen.

The data are a plant's folder, which is processed by the command line, or one of two public files, `qmul.npz`
and `omniglot.npz` (or the folder of the same name with this file), with their own split: training, validation
for the threshold, test. Figures are those of the INT8 graph on the engine that a line would take, in %.
`accuracy.py --method matcher` runs this.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import reduce
from pathlib import Path

import numpy as np
import torch
from latency import latency_ms
from product_figures import measure_omniglot, measure_products, measure_protocol
from public_products import Split, read_omniglot, read_qmul

from edge.bundle import Model, read_draft
from edge.engines import open_engine
from edge.engines.base import Image, Sample
from edge.manifest import InputSpec
from edge.recipe import EngineChoice
from trt_build.data.cases import Case, evenly
from trt_build.data.products import DRAWING, PHOTO, Pictures, joined
from trt_build.figures.matching import Embed
from trt_build.graphs.fp32 import export_checkpoint
from trt_build.graphs.int8 import add_int8
from trt_build.methods.checkpoint import CHECKPOINT
from trt_build.methods.loop import TrainConfig
from trt_build.methods.matcher.augment import LETTERS, Redrawing, redraw
from trt_build.methods.matcher.batches import CHARACTERS, PairSampling, Sampling, SinglePairs
from trt_build.methods.matcher.evaluate import look_up_all
from trt_build.methods.matcher.method import CALIBRATION_PICTURES
from trt_build.methods.matcher.network import LETTERS as NETWORK_OF_LETTERS
from trt_build.methods.matcher.network import SOURCE, MatcherConfig
from trt_build.methods.matcher.split import held_out_pictures
from trt_build.methods.matcher.train import AS_PUBLISHED, LETTERS_TRAINING, train_matcher

#: Products in each set of the source's test.
PRODUCTS = 163


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a public file is read, trained on and measured."""

    read: Callable[[Path, InputSpec], Split]
    measure: Callable[[Embed, Split], dict[str, float]]
    training: TrainConfig
    sampling: Sampling = field(default_factory=PairSampling)
    network: MatcherConfig = field(default_factory=MatcherConfig)
    published: SinglePairs = field(default_factory=SinglePairs)  # the pairs of a training as published


PUBLIC = {
    "qmul": Recipe(read=read_qmul, measure=measure_products, training=TrainConfig(epochs=40)),
    "omniglot": Recipe(
        read=read_omniglot,
        measure=measure_omniglot,
        training=LETTERS_TRAINING,
        sampling=CHARACTERS,
        network=NETWORK_OF_LETTERS,
        published=SinglePairs(redrawing=LETTERS),
    ),
}


def run_seed(options: argparse.Namespace, folder: Path, seed: int) -> dict[str, float]:
    """Train with one seed; return the figures, with `one_shot_20` only for characters."""
    for option, value in (("--backbone", options.backbone), ("--second", options.second)):
        if value is not None:
            sys.exit(f"{option}: a matcher has no pre-trained network: leave it out")
    if options.pairs_per_epoch and not options.as_published:
        sys.exit("--pairs-per-epoch: does nothing without --as-published")
    inside = options.data / f"{options.data.name}.npz"
    if inside.is_file():
        options = argparse.Namespace(**vars(options) | {"data": inside})
    return (_plant if options.data.is_dir() else _public)(options, folder, seed)


def recipe_of(options: argparse.Namespace, seed: int) -> Recipe:
    """Return the recipe of the file by its name; as published, with the source's network, pairs, schedule."""
    if options.data.stem not in PUBLIC:
        sys.exit(f"{options.data}: expected a folder of products, qmul.npz or omniglot.npz")
    recipe = PUBLIC[options.data.stem]
    if options.as_published:
        recipe = replace(recipe, network=SOURCE, sampling=recipe.published, training=AS_PUBLISHED)
    wanted = {"pairs": options.batch, "per_epoch": options.pairs_per_epoch}
    epochs = options.epochs or recipe.training.epochs
    return replace(
        recipe,
        training=replace(recipe.training, epochs=epochs, seed=seed),
        sampling=replace(recipe.sampling, **{name: value for name, value in wanted.items() if value}),
    )


def training_words(options: argparse.Namespace) -> list[str]:
    """Return the options of `trt-build train matcher` for a folder, as `recipe_of` applies them."""
    words = ["--as-published"] if options.as_published else []
    for name in ("epochs", "batch", "pairs_per_epoch"):
        if (value := getattr(options, name)) is not None:
            words += [f"--{name.replace('_', '-')}", str(value)]
    return words


def calibration_words(options: argparse.Namespace) -> list[str]:
    """Return the options of `trt-build calibrate`: the source's similarity as published, otherwise the rate."""
    return ["--similarity", "0.5"] if options.as_published else ["--rate", str(options.rate)]


def train(data: Path, recipe: Recipe, run: Path) -> None:
    split = recipe.read(data, recipe.network.spec)
    train_matcher(
        split.train,
        split.validation,
        run,
        network=recipe.network,
        training=recipe.training,
        sampling=recipe.sampling,
    )


def _public(options: argparse.Namespace, folder: Path, seed: int) -> dict[str, float]:
    recipe, run, draft = recipe_of(options, seed), folder / "run", folder / "draft"
    started = time.monotonic()
    own = multiprocessing.get_context("spawn").Process(target=train, args=(options.data, recipe, run))
    # A process of its own, so that its memory can be measured.
    own.start()
    own.join()
    if own.exitcode:
        sys.exit(own.exitcode)
    took, peak = time.monotonic() - started, _peak_mb()
    export_checkpoint(run / CHECKPOINT, draft)
    split = recipe.read(options.data, recipe.network.spec)
    some = evenly(range(len(split.train)), CALIBRATION_PICTURES)
    add_int8(draft, [Case(name=str(i), image=split.train.pictures[i : i + 1]) for i in some])
    bundle = read_draft(draft)
    found, exact = (
        recipe.measure(embed_by(bundle, EngineChoice(precision=precision)), split)
        for precision in ("int8", "fp32")
    )
    shown = {"accuracy": "any_mean", "accuracy_alike": "alike_mean", "one_shot_20": "one_shot"}
    shown |= {"one_shot_20_many": "one_shot_many"}
    report = {name: found[figure] for name, figure in shown.items() if figure in found}
    if "qmul" in options.data.stem:
        # Photos of both sets are redrawn: otherwise those of unknown products would be easier.
        sets = (with_new_photos(some, recipe.sampling.redrawing) for some in (split.train, split.test))
        report |= measure_protocol(embed_by(bundle, EngineChoice(precision="int8")), *sets)
    lost = {f"{name}_lost": exact[shown[name]] - report[name] for name in shown.keys() & report.keys()}
    times = {
        "train_s": took,
        "peak_mb": peak,
        "ms_int8": latency_ms(draft, list(split.test.pictures[:32, None])),
    }
    return report | lost | times


def with_new_photos(
    pictures: Pictures, how: Redrawing, *, products: int = PRODUCTS, photos: int = 4
) -> Pictures:
    """Return drawings and new photos of evenly chosen products.

    As in Han (2022), where 20 photos of a product are made from few and 4 of them are kept from training, a new
    photo is an old one that is redrawn at random. Training sees others, redrawn from the same photo.
    """
    some = some_products(pictures, products)
    photo = some.where(some.hand == PHOTO)
    many = reduce(joined, [photo] * photos)
    redrawn = redraw(torch.from_numpy(many.pictures), how, torch.Generator().manual_seed(0))
    return joined(some.where(some.hand == DRAWING), replace(many, pictures=redrawn.numpy()))


def some_products(pictures: Pictures, count: int) -> Pictures:
    """Return the pictures of evenly chosen products."""
    return pictures.where(np.isin(pictures.product, evenly(np.unique(pictures.product).tolist(), count)))


def embed_by(bundle: Model, choice: EngineChoice) -> Embed:
    """Return a function that embeds pictures `(N, C, H, W)` uint8 by an engine."""

    def embed(pictures: Image) -> np.ndarray:
        with open_engine(choice, bundle) as engine:
            vectors = []
            for picture in pictures:
                engine.submit(0, [Sample(picture[None])])
                vectors.append(engine.collect(0)[0]["embedding"][0].copy())
        return np.stack(vectors)

    return embed


def _plant(options: argparse.Namespace, folder: Path, seed: int) -> dict[str, float]:
    """Train by the command line; measure same and different products equally, on those kept from training."""

    def trt_build(*words: object) -> float:
        started = time.monotonic()
        subprocess.run([sys.executable, "-m", "trt_build", *map(str, words)], check=True, stdout=sys.stderr)
        return time.monotonic() - started

    run, draft = folder / "run", folder / "draft"
    took = trt_build("train", "matcher", options.data, run, "--seed", seed, *training_words(options))
    peak = _peak_mb()
    trt_build("export", run / CHECKPOINT, draft, "--data", options.data)
    trt_build("calibrate", draft, options.data, *calibration_words(options))
    bundle = read_draft(draft)
    looked_up = look_up_all(bundle, options.data, EngineChoice(precision="int8"))
    found = looked_up.figures(bundle)
    exact = look_up_all(bundle, options.data, EngineChoice(precision="fp32")).figures(bundle)
    accuracy, without = (100 - 50 * (figures["escape"] + figures["overkill"]) for figures in (found, exact))
    kept = held_out_pictures(options.data, bundle.manifest.input).pictures
    return {
        "accuracy": accuracy,
        "accuracy_lost": without - accuracy,
        **found,
        **looked_up.flat(),
        "auroc_lost": exact["auroc"] - found["auroc"],
        "train_s": took,
        "peak_mb": peak,
        "ms_int8": latency_ms(draft, list(kept[:32, None])),
    }


def _peak_mb() -> float:
    """Return the largest memory in MB of any process that was started and has ended."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
