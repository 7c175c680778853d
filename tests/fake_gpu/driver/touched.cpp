// Counts the kernels' accesses to the host's memory, each of them: the compiler calls these for every access.
//
// The kernels are compiled with -fsanitize=thread and linked with this file instead of the sanitizer's library.
#include <cstddef>

extern "C" {

void fake_cuda_touched(const void *address, std::size_t bytes, int writing);  // of the fake driver

#define ACCESS(bytes)                                                                          \
  void __tsan_read##bytes(void *address) { fake_cuda_touched(address, bytes, 0); }             \
  void __tsan_write##bytes(void *address) { fake_cuda_touched(address, bytes, 1); }            \
  void __tsan_unaligned_read##bytes(void *address) { fake_cuda_touched(address, bytes, 0); }   \
  void __tsan_unaligned_write##bytes(void *address) { fake_cuda_touched(address, bytes, 1); }
ACCESS(1)
ACCESS(2)
ACCESS(4)
ACCESS(8)
ACCESS(16)

void __tsan_read_range(void *address, std::size_t bytes) { fake_cuda_touched(address, bytes, 0); }
void __tsan_write_range(void *address, std::size_t bytes) { fake_cuda_touched(address, bytes, 1); }
void __tsan_func_entry(void *) {}
void __tsan_func_exit(void *) {}
void __tsan_init() {}
}
