// How a launch's parameters are packed, and what passes for the image of a kernel.
#pragma once
#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include <cuda.h>

struct Function {
  std::string name;
  void (*run)(void **, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned);
  const int *sizes;  // bytes of each parameter, ended by 0
  bool launched = false;
};

// Where each parameter lies in a packed buffer, and last how long that is; each lies at a multiple of its
// alignment, taken for the largest power of two in its size, at most 8.
inline std::vector<size_t> offsets_of(const int *sizes) {
  std::vector<size_t> offsets;
  size_t end = 0;
  for (; *sizes; ++sizes) {
    const size_t aligned = std::min(*sizes & -*sizes, 8);
    end = (end + aligned - 1) / aligned * aligned;
    offsets.push_back(end);
    end += *sizes;
  }
  offsets.push_back(end);
  return offsets;
}

// The values of a launch's parameters, packed; empty where the caller's buffer is of another length.
inline std::vector<char> packed(const int *sizes, void **parameters, void **extra) {
  const std::vector<size_t> offsets = offsets_of(sizes);
  std::vector<char> values(offsets.back());
  if (parameters) {
    for (size_t i = 0; sizes[i]; ++i) memcpy(&values[offsets[i]], parameters[i], sizes[i]);
    return values;
  }
  const void *buffer = nullptr;
  size_t bytes = 0;
  for (; extra && *extra != CU_LAUNCH_PARAM_END; extra += 2) {
    if (extra[0] == CU_LAUNCH_PARAM_BUFFER_POINTER) buffer = extra[1];
    if (extra[0] == CU_LAUNCH_PARAM_BUFFER_SIZE) bytes = *static_cast<size_t *>(extra[1]);
  }
  if (!buffer || bytes != values.size()) return {};
  memcpy(values.data(), buffer, bytes);
  return values;
}

// Whether these bytes begin as a fat binary, a cubin or PTX does.
inline bool is_image(const void *image) {
  const auto begins = [=](const char *magic) { return !memcmp(image, magic, 4); };
  const bool binary = begins("\x50\xed\x55\xba") || begins("\x7f" "ELF");
  return binary || strstr(static_cast<const char *>(image), ".version");
}
