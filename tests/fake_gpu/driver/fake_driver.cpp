// A CUDA driver without a GPU, for tests: contexts and memory. Devices, copies, queues and graphs have their own files.
#include "fake_call.h"
#include "fake_device.h"

extern "C" {

// What only tests call.

long fake_cuda_count(const char *what) {
  std::lock_guard<std::recursive_mutex> lock(one_at_a_time);
  return counted[what];
}

void fake_cuda_lose_device(long after_operations) { operations_left = after_operations; }

int fake_cuda_reachable(const void *address, size_t bytes) { return reachable(address, bytes); }

void fake_cuda_fault() { lose_device(CUDA_ERROR_ILLEGAL_ADDRESS); }

// Calls of the driver so far, as "<function> <number>" in lines; the number of bytes that this takes.
long fake_cuda_calls(char *text, long bytes) {
  std::lock_guard<std::recursive_mutex> lock(one_at_a_time);
  std::string lines;
  for (const auto &[function, number] : calls) lines += function + " " + std::to_string(number) + "\n";
  return snprintf(text, bytes, "%s", lines.c_str()) + 1;
}

// Kernels read (or write) this many bytes of memory: those of the host are counted.
void fake_cuda_touched(const void *address, size_t bytes, int writing) {
  static long &read = counted["host_bytes_read_by_kernels"], &written = counted["host_bytes_written_by_kernels"];
  static Stretch known[4];  // a kernel has few arrays, and goes from one to another
  static unsigned next = 0;
  const auto at = reinterpret_cast<uintptr_t>(address);
  const Stretch *found = std::find_if(known, known + 4, [=](const Stretch &one) { return one.holds(at); });
  if (found == known + 4) known[next % 4] = stretch_around(at), found = &known[next++ % 4];
  if (found->is_pinned) (writing ? written : read) += bytes;
}

void fake_cuda_set_cost(const char *name, double ns) {
  std::lock_guard<std::recursive_mutex> lock(one_at_a_time);
  costs[name] = ns;
  virtual_time = true;
}

int64_t fake_cuda_now() { return host_ns; }

// The host works for so long, and calls nothing.
void fake_cuda_advance(int64_t ns) {
  std::lock_guard<std::recursive_mutex> lock(one_at_a_time);
  advance(ns);
}

CUresult cuGetErrorString(CUresult error, const char **text) { return *text = text_of(error), CUDA_SUCCESS; }

// Contexts.

CUresult cuDevicePrimaryCtxSetFlags(CUdevice, unsigned flags) {
  note();
  return primary_flags = flags, CUDA_SUCCESS;
}
CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice) {
  note();
  *context = reinterpret_cast<CUcontext>(&primary);
  return tally(CUDA_SUCCESS, "contexts");
}
CUresult cuDevicePrimaryCtxRelease(CUdevice) {
  note();
  return tally(counted["contexts"] ? CUDA_SUCCESS : CUDA_ERROR_INVALID_CONTEXT, "contexts", -1);
}
CUresult cuCtxPushCurrent(CUcontext context) { return note(), current.push_back(context), CUDA_SUCCESS; }
CUresult cuCtxPopCurrent(CUcontext *context) {
  note();
  if (current.empty()) return CUDA_ERROR_INVALID_CONTEXT;
  if (context) *context = current.back();
  return current.pop_back(), CUDA_SUCCESS;
}
CUresult cuCtxGetDevice(CUdevice *device) { return call([&] { return *device = 0, CUDA_SUCCESS; }); }
CUresult cuCtxSynchronize() {
  return call_outside_captures([] {
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
  return call_outside_captures([&] { return tally(allocate(pointer, bytes), "allocations"); });
}
CUresult cuMemFree(CUdeviceptr pointer) {
  return call_outside_captures([&] { return settle(), tally(release(pointer), "allocations", -1); });
}
CUresult cuMemHostAlloc(void **pointer, size_t bytes, unsigned) {
  return call_outside_captures([&] { return tally(allocate_pinned(pointer, bytes), "host_allocations"); });
}
CUresult cuMemFreeHost(void *pointer) {
  return call_outside_captures([&] { return settle(), tally(release_pinned(pointer), "host_allocations", -1); });
}
CUresult cuMemHostRegister(void *pointer, size_t bytes, unsigned) {
  if (getenv("FAKE_CUDA_CANNOT_REGISTER")) return CUDA_ERROR_NOT_SUPPORTED;
  return call_outside_captures([&] { return tally(pin(pointer, bytes), "registrations"); });
}
CUresult cuMemHostUnregister(void *pointer) {
  return call_outside_captures([&] { return settle(), tally(unpin(pointer), "registrations", -1); });
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
}
