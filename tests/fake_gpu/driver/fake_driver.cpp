// A CUDA driver without a GPU, for tests: device, contexts, memory and copies. Queues are in fake_queues.cpp.
#include "fake_call.h"
#include "fake_device.h"

namespace {

// From pinned memory the bytes are read when the copy runs; from other memory they are taken at once.
CUresult copy_in(CUdeviceptr to, const void *from, size_t bytes, Stream *stream) {
  if (!reachable(memory_of(to), bytes)) return CUDA_ERROR_INVALID_VALUE;
  counted["host_to_device_bytes"] += bytes;
  trace("HtoD", stream, std::to_string(bytes));
  if (const Range *range = holding(pinned, from, bytes)) {
    if (range->registered) counted["registered_to_device_bytes"] += bytes;
    enqueue(stream, [=] { memcpy(memory_of(to), from, bytes); });
  } else {
    counted["pageable_to_device_bytes"] += bytes;
    const auto *begin = static_cast<const char *>(from);
    enqueue(stream, [to, staged = std::vector<char>(begin, begin + bytes)] {
      memcpy(memory_of(to), staged.data(), staged.size());
    });
  }
  return CUDA_SUCCESS;
}

// Into memory that is not pinned a copy is only over when it has run.
CUresult copy_out(void *to, CUdeviceptr from, size_t bytes, Stream *stream) {
  if (!reachable(memory_of(from), bytes)) return CUDA_ERROR_INVALID_VALUE;
  trace("DtoH", stream, std::to_string(bytes));
  enqueue(stream, [=] { memcpy(to, memory_of(from), bytes); });
  if (!is_pinned(to, bytes)) {
    counted["device_to_pageable_bytes"] += bytes;
    drain(stream);
  }
  return lost;
}

CUresult copy_on_device(CUdeviceptr to, CUdeviceptr from, size_t bytes, Stream *stream) {
  if (!reachable(memory_of(to), bytes) || !reachable(memory_of(from), bytes)) return CUDA_ERROR_INVALID_VALUE;
  trace("DtoD", stream, std::to_string(bytes));
  enqueue(stream, [=] { memcpy(memory_of(to), memory_of(from), bytes); });
  return CUDA_SUCCESS;
}

}  // namespace

extern "C" {

// What only tests call.

long fake_cuda_count(const char *what) {
  std::lock_guard<std::recursive_mutex> lock(one_at_a_time);
  return counted[what];
}

void fake_cuda_lose_device(long after_operations) { operations_left = after_operations; }

int fake_cuda_reachable(const void *address, size_t bytes) { return reachable(address, bytes); }

void fake_cuda_fault() { lose_device(CUDA_ERROR_ILLEGAL_ADDRESS); }

// The device.

CUresult cuInit(unsigned) { return CUDA_SUCCESS; }
CUresult cuDriverGetVersion(int *version) { return *version = DRIVER_VERSION, CUDA_SUCCESS; }
CUresult cuDeviceGet(CUdevice *device, int number) {
  return *device = number, number ? CUDA_ERROR_INVALID_DEVICE : CUDA_SUCCESS;
}
CUresult cuDeviceGetName(char *name, int length, CUdevice) {
  return snprintf(name, length, "Fake GPU"), CUDA_SUCCESS;
}
CUresult cuDeviceComputeCapability(int *major, int *minor, CUdevice) {
  return *major = CAPABILITY_MAJOR, *minor = CAPABILITY_MINOR, CUDA_SUCCESS;
}
CUresult cuDeviceGetAttribute(int *value, CUdevice_attribute number, CUdevice) {
  switch (number) {
    case CU_DEVICE_ATTRIBUTE_INTEGRATED: return *value = getenv("FAKE_CUDA_INTEGRATED") != nullptr, CUDA_SUCCESS;
    case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT: return *value = 16, CUDA_SUCCESS;
    default: return CUDA_ERROR_INVALID_VALUE;
  }
}
CUresult cuGetErrorString(CUresult error, const char **text) { return *text = text_of(error), CUDA_SUCCESS; }

// Contexts.

CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice) {
  *context = reinterpret_cast<CUcontext>(&primary);
  return tally(CUDA_SUCCESS, "contexts");
}
CUresult cuDevicePrimaryCtxRelease(CUdevice) {
  return tally(counted["contexts"] ? CUDA_SUCCESS : CUDA_ERROR_INVALID_CONTEXT, "contexts", -1);
}
CUresult cuCtxPushCurrent(CUcontext context) { return current.push_back(context), CUDA_SUCCESS; }
CUresult cuCtxPopCurrent(CUcontext *context) {
  if (current.empty()) return CUDA_ERROR_INVALID_CONTEXT;
  if (context) *context = current.back();
  return current.pop_back(), CUDA_SUCCESS;
}
CUresult cuCtxGetDevice(CUdevice *device) { return call([&] { return *device = 0, CUDA_SUCCESS; }); }
CUresult cuCtxSynchronize() {
  return call([] {
    trace("synchronize-context", nullptr, "");
    drain_all();
    return waited("context_synchronisations");
  });
}

// Memory.

CUresult cuMemGetInfo(size_t *unused, size_t *total) {
  return call([&] { return *total = device_bytes(), *unused = *total - used_bytes(), CUDA_SUCCESS; });
}
CUresult cuMemAlloc(CUdeviceptr *pointer, size_t bytes) {
  return call([&] { return tally(allocate(pointer, bytes), "allocations"); });
}
CUresult cuMemFree(CUdeviceptr pointer) {
  return call([&] { return settle(), tally(release(pointer), "allocations", -1); });
}
CUresult cuMemHostAlloc(void **pointer, size_t bytes, unsigned) {
  return call([&] { return tally(allocate_pinned(pointer, bytes), "host_allocations"); });
}
CUresult cuMemFreeHost(void *pointer) {
  return call([&] { return settle(), tally(release_pinned(pointer), "host_allocations", -1); });
}
CUresult cuMemHostRegister(void *pointer, size_t bytes, unsigned) {
  if (getenv("FAKE_CUDA_CANNOT_REGISTER")) return CUDA_ERROR_NOT_SUPPORTED;
  return call([&] { return tally(pin(pointer, bytes), "registrations"); });
}
CUresult cuMemHostUnregister(void *pointer) {
  return call([&] { return settle(), tally(unpin(pointer), "registrations", -1); });
}
CUresult cuMemHostGetDevicePointer(CUdeviceptr *device, void *host, unsigned) {
  return call([&] {
    Range *range = holding(pinned, host, 1);
    if (!range) return CUDA_ERROR_INVALID_VALUE;
    range->mapped = true;
    *device = reinterpret_cast<CUdeviceptr>(host);
    return CUDA_SUCCESS;
  });
}

// Copies.

CUresult cuMemcpyHtoDAsync(CUdeviceptr to, const void *from, size_t bytes, CUstream stream) {
  return call([&] { return copy_in(to, from, bytes, stream_of(stream)); });
}
CUresult cuMemcpyDtoHAsync(void *to, CUdeviceptr from, size_t bytes, CUstream stream) {
  return call([&] { return copy_out(to, from, bytes, stream_of(stream)); });
}
CUresult cuMemcpyDtoDAsync(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream) {
  return call([&] { return copy_on_device(to, from, bytes, stream_of(stream)); });
}
CUresult cuMemcpyHtoD(CUdeviceptr to, const void *from, size_t bytes) {
  return call([&] {
    const CUresult result = copy_in(to, from, bytes, &default_stream);
    return drain(&default_stream), result ? result : waited("synchronous_copies");
  });
}
CUresult cuMemcpyDtoH(void *to, CUdeviceptr from, size_t bytes) {
  return call([&] {
    const CUresult result = copy_out(to, from, bytes, &default_stream);
    return drain(&default_stream), result ? result : waited("synchronous_copies");
  });
}
}
