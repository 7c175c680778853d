// The fake network's arithmetic: every byte of every input bears on an output, so each part has its own answer.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

extern "C" int fake_cuda_reachable(const void *address, size_t bytes);  // of the fake driver
extern "C" void fake_cuda_fault();

// mix(to, from, count, bytes, salt, first, poison): for each of gridDim.x samples, `count` float32 at `to` of
// `bytes` bytes at `from`: byte j, times (j * salt) % 251 + 1, goes into element j % count; each is taken
// modulo 65521, and with first = 0 added to what is there. A sample whose first byte is `poison` gives NaN.
extern "C" const int fake_mix_sizes[] = {8, 8, 4, 4, 4, 4, 4, 0};

extern "C" void fake_mix(void **parameters, unsigned samples, unsigned, unsigned, unsigned, unsigned,
                         unsigned) {
  auto *to = *static_cast<float **>(parameters[0]);
  const auto *from = *static_cast<const uint8_t **>(parameters[1]);
  const int count = *static_cast<int *>(parameters[2]), bytes = *static_cast<int *>(parameters[3]);
  const int salt = *static_cast<int *>(parameters[4]), first = *static_cast<int *>(parameters[5]);
  const int poison = *static_cast<int *>(parameters[6]);
  const size_t written = sizeof(float) * count * samples, read = size_t(bytes) * samples;
  if (!fake_cuda_reachable(to, written) || !fake_cuda_reachable(from, read)) return fake_cuda_fault();
  for (unsigned sample = 0; sample < samples; ++sample, to += count, from += bytes) {
    for (int i = 0; i < count; ++i) {
      uint64_t sum = 0;
      for (int j = i; j < bytes; j += count) sum += uint64_t(from[j]) * (uint64_t(j) * salt % 251 + 1);
      to[i] = (first ? 0 : to[i]) + float(sum % 65521);
      if (from[0] == poison) to[i] = NAN;
    }
  }
}

// copy(to, from, bytes): what lies in scratch memory becomes the output.
extern "C" const int fake_copy_sizes[] = {8, 8, 4, 0};

extern "C" void fake_copy(void **parameters, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned) {
  void *to = *static_cast<void **>(parameters[0]);
  const void *from = *static_cast<const void **>(parameters[1]);
  const int bytes = *static_cast<int *>(parameters[2]);
  if (!fake_cuda_reachable(to, bytes) || !fake_cuda_reachable(from, bytes)) return fake_cuda_fault();
  memcpy(to, from, bytes);
}
