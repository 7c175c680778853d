// What memory the fake device has given out, and which host memory it may read while work runs.
#pragma once
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>

#include <cuda.h>

constexpr uintptr_t PAGE_BYTES = 4096;

struct Range {
  size_t bytes;
  bool registered = false;  // by cuMemHostRegister, so not to be freed here
  bool mapped = false;      // its device pointer was asked for
};

using Ranges = std::map<uintptr_t, Range>;
inline Ranges on_device, pinned;
inline long pinned_changes = 0;  // so that what was looked up in `pinned` can be kept until it changes

// The range that holds all of these bytes, or null.
inline Range *holding(Ranges &ranges, const void *address, size_t bytes) {
  const auto begin = reinterpret_cast<uintptr_t>(address);
  auto next = ranges.upper_bound(begin);
  if (next == ranges.begin()) return nullptr;
  auto &[start, range] = *std::prev(next);
  return begin + bytes <= start + range.bytes ? &range : nullptr;
}

inline bool overlaps(const Ranges &ranges, uintptr_t begin, size_t bytes) {
  auto next = ranges.lower_bound(begin + bytes);
  return next != ranges.begin() && std::prev(next)->first + std::prev(next)->second.bytes > begin;
}

// The longest stretch around an address that is pinned as a whole, or not at all.
struct Stretch {
  uintptr_t begin = 0, end = 0;
  bool is_pinned = false;
  long changes = -1;
  bool holds(uintptr_t address) const {
    return changes == pinned_changes && begin <= address && address < end;
  }
};

inline Stretch stretch_around(uintptr_t address) {
  auto next = pinned.upper_bound(address);
  Stretch found{0, next == pinned.end() ? UINTPTR_MAX : next->first, false, pinned_changes};
  if (next == pinned.begin()) return found;
  const auto &[start, range] = *std::prev(next);
  found.begin = start + range.bytes;
  if (address < found.begin) found = {start, found.begin, true, pinned_changes};
  return found;
}

inline bool is_pinned(const void *address, size_t bytes) { return holding(pinned, address, bytes); }

// Whether a kernel may touch these bytes: device memory, or pinned memory under its device pointer.
inline bool reachable(const void *address, size_t bytes) {
  if (holding(on_device, address, bytes)) return true;
  const Range *range = holding(pinned, address, bytes);
  return range && range->mapped;
}

// FAKE_CUDA_MEMORY_MB: how much the device has, 8 GiB where it is not said.
inline size_t device_bytes() {
  const char *mb = getenv("FAKE_CUDA_MEMORY_MB");
  return mb ? strtoull(mb, nullptr, 10) << 20 : size_t{8} << 30;
}

inline size_t used_bytes() {
  size_t sum = 0;
  for (const auto &[start, range] : on_device) sum += range.bytes;
  return sum;
}

inline CUresult allocate(CUdeviceptr *pointer, size_t bytes) {
  if (bytes == 0) return CUDA_ERROR_INVALID_VALUE;
  if (used_bytes() + bytes > device_bytes()) return CUDA_ERROR_OUT_OF_MEMORY;
  void *memory = aligned_alloc(256, (bytes + 255) / 256 * 256);
  memset(memory, 0xCD, bytes);  // what nobody wrote is no zero
  on_device[reinterpret_cast<uintptr_t>(memory)] = {bytes};
  *pointer = reinterpret_cast<CUdeviceptr>(memory);
  return CUDA_SUCCESS;
}

inline CUresult release(CUdeviceptr pointer) {
  if (!on_device.erase(pointer)) return CUDA_ERROR_INVALID_VALUE;
  free(reinterpret_cast<void *>(pointer));
  return CUDA_SUCCESS;
}

inline CUresult allocate_pinned(void **pointer, size_t bytes) {
  *pointer = aligned_alloc(PAGE_BYTES, (bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES);
  memset(*pointer, 0xCE, bytes);
  pinned[reinterpret_cast<uintptr_t>(*pointer)] = {bytes};
  ++pinned_changes;
  return CUDA_SUCCESS;
}

inline CUresult release_pinned(void *pointer) {
  auto found = pinned.find(reinterpret_cast<uintptr_t>(pointer));
  if (found == pinned.end() || found->second.registered) return CUDA_ERROR_INVALID_VALUE;
  pinned.erase(found);
  ++pinned_changes;
  free(pointer);
  return CUDA_SUCCESS;
}

inline CUresult pin(void *pointer, size_t bytes) {
  const auto begin = reinterpret_cast<uintptr_t>(pointer);
  if (begin % PAGE_BYTES || bytes == 0) return CUDA_ERROR_INVALID_VALUE;
  if (overlaps(pinned, begin, bytes)) return CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED;
  pinned[begin] = {bytes, true};
  ++pinned_changes;
  return CUDA_SUCCESS;
}

inline CUresult unpin(void *pointer) {
  auto found = pinned.find(reinterpret_cast<uintptr_t>(pointer));
  if (found == pinned.end() || !found->second.registered) return CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED;
  pinned.erase(found);
  ++pinned_changes;
  return CUDA_SUCCESS;
}
