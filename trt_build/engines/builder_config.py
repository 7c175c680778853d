"""Configures TensorRT's builder: numeric types, profiles for numbers of samples, workspace, and target GPUs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edge.engines.compiled import Target
from edge.engines.cuda import driver_library
from edge.errors import EngineError
from edge.manifest import Precision

#: Compute capability of the first GPUs that compute FP8.
FIRST_WITH_FP8 = (8, 9)
#: Compute capability of the first GPUs that an engine built without a GPU is for. With older ones it is slower.
FIRST_WITHOUT_GPU = (8, 0)
#: Share of the free memory that a layer may use as workspace, where GPU and CPU share the memory.
SHARE_OF_SHARED_MEMORY = 0.5


def configured(
    trt: Any,
    builder: Any,
    network: Any,
    *,
    batch: int,
    target: Target,
    portable: bool,
    stripped: bool,
    capabilities: Sequence[tuple[int, int]],
) -> Any:
    """Return the builder's configuration for a network, for batches of up to `batch` samples.

    `capabilities` are the compute capabilities to build for; without any, this machine's GPU is built for.
    """
    config = builder.create_builder_config()
    # The report on layers needs the details.
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    # The graph states every precision, so FP32 must not be computed as TF32.
    config.clear_flag(trt.BuilderFlag.TF32)
    if portable:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    if stripped:
        config.set_flag(trt.BuilderFlag.STRIP_PLAN)
        # Without this flag the engine would be slower than one with weights.
        config.set_flag(trt.BuilderFlag.REFIT_IDENTICAL)
    # RTX compiles kernels for each number of samples when it runs.
    if target.runtime == "tensorrt" and batch > 1:
        config.add_optimization_profile(profile_for(builder, network, 1))
    config.add_optimization_profile(profile_for(builder, network, batch))
    if target.compute_capability is not None:
        _bound_workspace(trt, config)
    if target.runtime == "tensorrt_rtx":
        _for_rtx(trt, config, capabilities)
    return config


def inputs(network: Any) -> Sequence[Any]:
    """Return the network's inputs, in their order."""
    return [network.get_input(number) for number in range(network.num_inputs)]


def profile_for(builder: Any, network: Any, batch: int) -> Any:
    """Return a TensorRT profile, which allows batches of 1 to `batch` parts and is fastest for full batches."""
    profile = builder.create_optimization_profile()
    for put in inputs(network):
        least, most = ((count, *tuple(put.shape)[1:]) for count in (1, batch))
        profile.set_shape(put.name, least, most, most)
    return profile


def _bound_workspace(trt: Any, config: Any) -> None:
    """Leave the rest of the machine memory to live on, where the GPU shares it with the CPU.

    By default TensorRT tries tactics that need up to all of the device's memory, which there is all memory.
    """
    cuda = driver_library()
    if cuda.Context.get_device().get_attribute(cuda.device_attribute.INTEGRATED):
        free, _ = cuda.mem_get_info()
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, int(SHARE_OF_SHARED_MEMORY * free))


def rtx_capabilities(rtx: Any, precision: Precision) -> tuple[tuple[int, int], ...]:
    """Return the compute capabilities of the GPUs that RTX builds for without a GPU, as (major, minor)."""
    first = FIRST_WITH_FP8 if precision == "fp8" else FIRST_WITHOUT_GPU
    known = sorted(divmod(int(one), 10) for one in rtx.ComputeCapability.__members__.values())
    return tuple(capability for capability in known if capability >= first)


def _for_rtx(rtx: Any, config: Any, capabilities: Sequence[tuple[int, int]]) -> None:
    """Make RTX build for GPUs of these compute capabilities. Without any, for this machine's GPU alone."""
    # By default RTX may allocate memory while a network runs, which a CUDA graph cannot hold.
    config.set_flag(rtx.BuilderFlag.REQUIRE_USER_ALLOCATION)
    targets = [rtx.ComputeCapability(10 * major + minor) for major, minor in capabilities]
    targets = targets or [rtx.ComputeCapability.CURRENT]
    config.num_compute_capabilities = len(targets)
    for index, target in enumerate(targets):
        if not config.set_compute_capability(target, index):
            raise EngineError(f"tensorrt_rtx does not build for GPUs of {target}")
