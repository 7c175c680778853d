// The fake driver's GPUs: what each one is, and which of them CUDA_VISIBLE_DEVICES shows, in which order.
#include <cstring>
#include <sstream>

#include "fake_call.h"
#include "fake_device.h"

namespace {

struct Gpu {
  const char *name;
  int multiprocessors, bus;  // its UUID is the number of its bus, then zeros
};

long told(const char *variable, long otherwise) {
  const char *value = getenv(variable);
  return value ? atol(value) : otherwise;
}

// CUDA lists the fastest GPU first, NVML the lowest bus. FAKE_CUDA_GPUS says how many there are.
std::vector<Gpu> installed() {
  std::vector<Gpu> gpus{{"Fake GPU", static_cast<int>(told("FAKE_CUDA_MULTIPROCESSORS", 16)), 0x65},
                        {"Small GPU", 4, 0x01}};
  gpus.resize(told("FAKE_CUDA_GPUS", 1));
  return gpus;
}

std::string uuid_of(const Gpu &gpu) {
  char text[64];
  snprintf(text, sizeof text, "GPU-%02x000000-0000-0000-0000-000000000000", gpu.bus);
  return text;
}

// Numbers in CUDA's order, or the beginnings of UUIDs; what follows an unknown one is not visible.
std::vector<Gpu> visible() {
  const std::vector<Gpu> all = installed();
  const char *asked = getenv("CUDA_VISIBLE_DEVICES");
  if (!asked) return all;
  std::vector<Gpu> seen;
  std::istringstream words(asked);
  for (std::string word; std::getline(words, word, ',');) {
    const size_t before = seen.size();
    for (size_t i = 0; i < all.size(); ++i)
      if (word == std::to_string(i) || (!word.compare(0, 4, "GPU-") && !uuid_of(all[i]).compare(0, word.size(), word)))
        seen.push_back(all[i]);
    if (seen.size() == before) break;
  }
  return seen;
}

template <class Tell>
CUresult of(CUdevice device, Tell tell) {
  const std::vector<Gpu> gpus = visible();
  if (device < 0 || device >= static_cast<int>(gpus.size())) return CUDA_ERROR_INVALID_DEVICE;
  return tell(gpus[device]), CUDA_SUCCESS;
}

}  // namespace

extern "C" {

// FAKE_CUDA_INIT is the error that cuInit returns.
CUresult cuInit(unsigned) {
  const long error = told("FAKE_CUDA_INIT", 0);
  note();
  if (error) return static_cast<CUresult>(error);
  return visible().empty() || getenv("FAKE_CUDA_NO_DEVICE") ? CUDA_ERROR_NO_DEVICE : CUDA_SUCCESS;
}
CUresult cuDriverGetVersion(int *version) {
  return note(), *version = static_cast<int>(told("FAKE_CUDA_DRIVER", DRIVER_VERSION)), CUDA_SUCCESS;
}
CUresult cuDeviceGetCount(int *count) { return note(), *count = static_cast<int>(visible().size()), CUDA_SUCCESS; }
CUresult cuDeviceGet(CUdevice *device, int number) {
  note();
  return of(number, [&](const Gpu &) { *device = number; });
}
CUresult cuDeviceGetName(char *name, int length, CUdevice device) {
  note();
  return of(device, [&](const Gpu &gpu) { snprintf(name, length, "%s", gpu.name); });
}
CUresult cuDeviceGetUuid_v2(CUuuid *uuid, CUdevice device) {
  note();
  return of(device, [&](const Gpu &gpu) { *uuid = {}, uuid->bytes[0] = static_cast<char>(gpu.bus); });
}
CUresult cuDeviceGetPCIBusId(char *id, int length, CUdevice device) {
  note();
  return of(device, [&](const Gpu &gpu) { snprintf(id, length, "0000:%02X:00.0", gpu.bus); });
}
// FAKE_CUDA_MEMORY_MB, which makes memory short, does not make another kind of GPU.
CUresult cuDeviceTotalMem(size_t *bytes, CUdevice device) {
  note();
  return of(device, [&](const Gpu &) { *bytes = told("FAKE_CUDA_TOTAL_GIB", 8) << 30; });
}
CUresult cuDeviceComputeCapability(int *major, int *minor, CUdevice device) {
  note();
  return of(device, [&](const Gpu &) { *major = CAPABILITY_MAJOR, *minor = CAPABILITY_MINOR; });
}
CUresult cuDeviceGetAttribute(int *value, CUdevice_attribute number, CUdevice device) {
  note();
  if (number == CU_DEVICE_ATTRIBUTE_INTEGRATED)
    return of(device, [&](const Gpu &) { *value = getenv("FAKE_CUDA_INTEGRATED") != nullptr; });
  if (number == CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)
    return of(device, [&](const Gpu &gpu) { *value = gpu.multiprocessors; });
  return CUDA_ERROR_INVALID_VALUE;
}
}
