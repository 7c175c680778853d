"""Compiles a bundle's graph with TensorRT or TensorRT-RTX, and writes the engine and its description."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from edge.bundle import Model, describe
from edge.engines.compiled import Compiled, Target, kept, key, read_plan
from edge.engines.trt_library import nothing_collected
from edge.errors import EngineError
from edge.manifest import File, Precision, Role
from trt_build.engines.builder_config import configured, inputs, rtx_capabilities
from trt_build.engines.progress import monitor_of
from trt_build.engines.timing_cache import keep_timings, timing_file, use_timings
from trt_build.terminal.interrupt import keeping_ctrl_c
from trt_build.terminal.progress import bars, working

#: Samples in a batch, at least, if neither the graph nor the user sets the batch size.
USUAL_BATCH = 8
#: Number of TensorRT's errors that an error text quotes.
TOLD = 5
#: Phrases in TensorRT's errors and warnings that mean too little device memory.
SHORT_OF_MEMORY = ("out of memory", "outofmemory", "insufficient memory", "memory is insufficient")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class BuildOptions:
    """How to build an engine: the largest batch, loadable by later TensorRT or not, with weights or not."""

    #: Most samples in a batch. None: what the graph fixes, or else USUAL_BATCH or, if more, a part's tiles.
    batch: int | None = None
    portable: bool = False  # whether later runtimes of the same major version can load the engine
    stripped: bool = False  # whether the engine leaves out the weights


@dataclass(frozen=True, kw_only=True)
class Built:
    """The description of an engine, and whether the bundle had this engine before the build."""

    engine: Compiled
    up_to_date: bool = False  # whether the bundle had it already


def build_engine(
    bundle: Model,
    role: Role,
    precision: Precision,
    into: Path,
    *,
    trt: Any,
    target: Target,
    options: BuildOptions,
) -> Built:
    """Build the engine of one graph into the folder `into`, unless the bundle has this engine already.

    Write the engine to `<name>.engine`, its description to `<name>.engine.json` and, if the machine has a GPU,
    a report on its layers to `<name>.layers.json`. Raise EngineError with TensorRT's text if the build fails.
    """
    path, graph = bundle.artifact(role, precision), bundle.digest_of_graph(role, precision)
    with nothing_collected():
        listener = _listener(trt)
        builder = trt.Builder(listener)
        network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
        parser = _parse(trt, network, listener, path, target)
        usual = max(USUAL_BATCH, bundle.manifest.grid.count)
        batch = _batch(network, path, 1 if role == "reference" else options.batch, usual)
        told = key(graph, precision, batch, target, options.portable, options.stripped)
        if known := _intact(bundle, told):
            return Built(engine=known, up_to_date=True)
        has_gpu = target.compute_capability is not None
        capabilities = () if has_gpu else rtx_capabilities(trt, precision)
        plan = _build(
            trt,
            builder,
            network,
            listener,
            batch=batch,
            path=path,
            target=target,
            options=options,
            capabilities=capabilities,
        )
        # The parser's memory holds the network's weights until the plan is built.
        del parser
        layers = _layers(trt, listener, plan, path, options.portable) if has_gpu else None
    name = f"{role}.{precision}.{told}"
    into.mkdir(parents=True, exist_ok=True)
    (into / f"{name}.engine").write_bytes(plan)
    if layers is not None:
        (into / f"{name}.layers.json").write_text(layers)
    engine = Compiled(
        role=role,
        precision=precision,
        graph=graph,
        batch=batch,
        target=target,
        portable=options.portable,
        stripped=options.stripped,
        capabilities=capabilities,
        file=File(**describe(into, f"{name}.engine")),
    )
    write_description(engine, into)
    return Built(engine=engine)


def write_description(engine: Compiled, folder: Path) -> None:
    """Write an engine's description beside the engine in `folder`."""
    text = msgspec.json.format(msgspec.json.encode(engine), indent=2)
    (folder / f"{engine.file.path}.json").write_bytes(text + b"\n")


def files_of(engine: Compiled) -> tuple[str, str, str, str]:
    """Return the names of an engine's files: engine, report on its layers, compiled kernels, description.

    The files must be written in this order, because readers take an engine with a description as complete.
    """
    name = engine.file.path
    return name, f"{name.removesuffix('.engine')}.layers.json", engine.kernels, f"{name}.json"


def _intact(bundle: Model, told: str) -> Compiled | None:
    """Return the bundle's engine with the key `told`. Return None if it is missing or its file is damaged."""
    for _, found in kept(bundle.folder):
        if isinstance(found, Compiled) and found.key == told:
            try:
                read_plan(bundle, found)
            except EngineError as error:
                _log.warning("%s: building it anew", error)
            else:
                return found
    return None


def _listener(trt: Any) -> Any:
    """Return a logger that keeps TensorRT's error texts, because TensorRT's failed calls return no reason."""

    class Listener(trt.ILogger):  # type: ignore[misc]  # the library has no types
        def __init__(self) -> None:
            # `super()` does not find the binding's constructor.
            trt.ILogger.__init__(self)
            self.errors: list[str] = []
            self.short_of_memory = False

        def log(self, severity: Any, text: str) -> None:
            if severity in (trt.ILogger.Severity.INTERNAL_ERROR, trt.ILogger.Severity.ERROR):
                self.errors.append(text)
            self.short_of_memory |= any(words in text.lower() for words in SHORT_OF_MEMORY)
            _log.debug("%s", text)

    return Listener()


def _parse(trt: Any, network: Any, listener: Any, path: Path, target: Target) -> Any:
    """Read an ONNX file into the network. Return the parser, which must live as long as the network.

    Raise EngineError if TensorRT does not support the graph.
    """
    parser = trt.OnnxParser(network, listener)
    if parser.parse(path.read_bytes()):
        return parser
    errors = [parser.get_error(number) for number in range(parser.num_errors)]
    said = [f"node {error.node_name()!r} ({error.node_operator()}): {error.desc()}" for error in errors]
    more = f"; and {len(said) - TOLD} more" if len(said) > TOLD else ""
    raise EngineError(
        f"{path}: {target.runtime} {target.version} does not take this graph: {'; '.join(said[:TOLD])}{more}: "
        "export the model anew with operators that it takes, or run this precision on another engine"
    )


def _batch(network: Any, path: Path, asked: int | None, usual: int) -> int:
    """Return the most samples in a batch: the number that the graph fixes, or else `asked`, or `usual`.

    Raise EngineError if the graph fixes another number than `asked`, or leaves any dimension but the first
    free.
    """
    shapes = {put.name: tuple(put.shape) for put in inputs(network)}
    for name, shape in shapes.items():
        if -1 in shape[1:]:
            raise EngineError(
                f"{path}: input {name!r} is {shape}: expected that only the first dimension is free: "
                "export the model anew"
            )
        if shape[0] != -1 and asked not in (None, shape[0]):
            raise EngineError(
                f"{path}: takes {shape[0]} at once, as its input {name!r} says ({shape}), and {asked} were "
                "asked for: export the model anew, which leaves it free, or build without --batch"
            )
    return next((shape[0] for shape in shapes.values() if shape[0] != -1), asked or usual)


def _build(
    trt: Any,
    builder: Any,
    network: Any,
    listener: Any,
    *,
    batch: int,
    path: Path,
    target: Target,
    options: BuildOptions,
    capabilities: Sequence[tuple[int, int]],
) -> bytes:
    """Build the engine and return it as bytes, as they are stored in a file.

    Raise EngineError with TensorRT's text if the build fails. After Ctrl-C, wait until the builder has stopped,
    then raise KeyboardInterrupt.
    """
    config = configured(
        trt,
        builder,
        network,
        batch=batch,
        target=target,
        portable=options.portable,
        stripped=options.stripped,
        capabilities=capabilities,
    )
    # RTX measures nothing when it builds.
    timings = timing_file(target) if target.runtime == "tensorrt" else None
    if timings:
        use_timings(config, timings)
    with working(f"building {path.name}"), bars() as shown, keeping_ctrl_c() as stop_if_asked:
        config.progress_monitor = monitor_of(trt, shown, stop_if_asked)
        plan = _run(builder, network, config)
        stop_if_asked()
    if plan is None:
        remedy = "run this precision on another engine, or export the model anew"
        if options.stripped:
            remedy = "build without --stripped"
        if listener.short_of_memory:
            remedy = (
                "the device's memory is too small for it: end what else uses it, the line for example, or "
                "build with a smaller --batch"
            )
        said = "; ".join(listener.errors[-TOLD:]) or "no reason was given"
        raise EngineError(f"{path}: {target.runtime} {target.version} cannot build it: {said}: {remedy}")
    if listener.short_of_memory:
        _log.warning(
            "%s: faster ways were left out for want of device memory: build while nothing uses it", path
        )
    if timings:
        keep_timings(config, timings)
    return bytes(plan)


def _run(builder: Any, network: Any, config: Any) -> Any:
    """Build the engine in a thread, so that the calling thread notices Ctrl-C. Return None if it fails."""
    with ThreadPoolExecutor(1, "builder") as thread:
        return thread.submit(lambda: builder.build_serialized_network(network, config)).result()


def _layers(trt: Any, listener: Any, plan: bytes, path: Path, portable: bool) -> str:
    """Return the report on the engine's layers as JSON. Raise EngineError if the engine cannot be loaded."""
    runtime = trt.Runtime(listener)
    if portable:
        # A portable plan contains a small runtime, which is host code.
        runtime.engine_host_code_allowed = True
    loaded = runtime.deserialize_cuda_engine(plan)
    if loaded is None:
        raise EngineError(
            f"{path}: was built, and cannot be loaded: {'; '.join(listener.errors[-TOLD:])}: is the driver "
            "older than the runtime asks for?"
        )
    inspector = loaded.create_engine_inspector()
    return str(inspector.get_engine_information(trt.LayerInformationFormat.JSON))
