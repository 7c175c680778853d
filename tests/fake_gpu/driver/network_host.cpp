// The fake network's arithmetic: every byte of every input bears on an output, so each part has its own answer.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

extern "C" int fake_cuda_reachable(const void *address, size_t bytes);  // of the fake driver
extern "C" void fake_cuda_fault();
extern "C" void fake_cuda_touched(const void *address, size_t bytes, int writing);

// mix(to, from, told, count, bytes, salt, first, poison): for each of gridDim.x samples, `count` float32 at `to` of
// `bytes` bytes at `from`: byte j, times (j * salt) % 251 + 1, goes into element j % count; each is taken
// modulo 65521, and with first = 0 added to what is there. A sample whose first byte is `poison` gives NaN.
// At `told` lies for how many samples the network was prepared last; prepared for others it gives wrong numbers.
extern "C" const int fake_mix_sizes[] = {8, 8, 8, 4, 4, 4, 4, 4, 0};

extern "C" void fake_mix(void **parameters, unsigned samples, unsigned, unsigned, unsigned, unsigned,
                         unsigned) {
  auto *to = *static_cast<float **>(parameters[0]);
  const auto *from = *static_cast<const uint8_t **>(parameters[1]);
  const auto *told = *static_cast<const unsigned **>(parameters[2]);
  const int count = *static_cast<int *>(parameters[3]), bytes = *static_cast<int *>(parameters[4]);
  const int salt = *static_cast<int *>(parameters[5]);
  const int first = *static_cast<int *>(parameters[6]), poison = *static_cast<int *>(parameters[7]);
  const size_t written = sizeof(float) * count * samples, read = size_t(bytes) * samples;
  if (!fake_cuda_reachable(to, written) || !fake_cuda_reachable(from, read)) return fake_cuda_fault();
  if (!fake_cuda_reachable(told, sizeof *told)) return fake_cuda_fault();
  const bool prepared = *told == samples;
  for (unsigned sample = 0; sample < samples; ++sample, to += count, from += bytes) {
    for (int i = 0; i < count; ++i) {
      uint64_t sum = 0;
      for (int j = i; j < bytes; j += count) sum += uint64_t(from[j]) * (uint64_t(j) * salt % 251 + 1);
      to[i] = (first ? 0 : to[i]) + float((sum + !prepared) % 65521);
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
  fake_cuda_touched(from, bytes, 0), fake_cuda_touched(to, bytes, 1);  // no access that the compiler would see
  memcpy(to, from, bytes);
}

// fault(to): write to an address, which may be none; PTX of tests/gpu.
extern "C" const int fake_fault_sizes[] = {8, 0};

extern "C" void fake_fault(void **parameters, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned) {
  auto *to = *static_cast<unsigned **>(parameters[0]);
  if (!fake_cuda_reachable(to, sizeof *to)) return fake_cuda_fault();
  *to = 1;
}

// prepare(told, samples): keep for how many samples the network is prepared.
extern "C" const int fake_prepare_sizes[] = {8, 4, 0};

extern "C" void fake_prepare(void **parameters, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned) {
  auto *told = *static_cast<unsigned **>(parameters[0]);
  if (!fake_cuda_reachable(told, sizeof *told)) return fake_cuda_fault();
  *told = *static_cast<unsigned *>(parameters[1]);
}
