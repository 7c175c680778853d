// The fake driver's copies between host and device, which count what they move and from where.
#include "fake_call.h"

namespace {

// A copy of rows; a plain copy has one.
struct Rows {
  size_t bytes, count = 1, from_pitch = 0, to_pitch = 0;
  size_t total() const { return bytes * count; }
  size_t span(size_t pitch) const { return count ? pitch * (count - 1) + bytes : 0; }
};

void copy_rows(void *to, const void *from, const Rows &rows) {
  for (size_t row = 0; row < rows.count; ++row)
    memcpy(static_cast<char *>(to) + row * rows.to_pitch, static_cast<const char *>(from) + row * rows.from_pitch,
           rows.bytes);
}

Operation copying(Engine engine, const char *kind, const Rows &rows, std::function<void()> run) {
  return {std::move(run), engine, [kind, bytes = rows.total()] { return cost_of_copy(kind, bytes); }};
}

// From pinned memory the bytes are read when the copy runs; from other memory they are taken at once.
CUresult copy_in(CUdeviceptr to, const void *from, Rows rows, Stream *stream) {
  if (!reachable(memory_of(to), rows.span(rows.to_pitch))) return CUDA_ERROR_INVALID_VALUE;
  counted["host_to_device_bytes"] += rows.total();
  trace("HtoD", stream, std::to_string(rows.total()));
  const Range *range = holding(pinned, from, rows.span(rows.from_pitch));
  if (range && range->registered) counted["registered_to_device_bytes"] += rows.total();
  if (!range) counted["pageable_to_device_bytes"] += rows.total();
  if (range || stream->capture)
    return enqueue(stream, copying(Engine::copy_in, "copy_in", rows, [=] { copy_rows(memory_of(to), from, rows); }));
  const auto *begin = static_cast<const char *>(from);
  std::vector<char> staged(begin, begin + rows.span(rows.from_pitch));
  return enqueue(stream, copying(Engine::copy_in, "copy_in", rows, [to, rows, staged] {
                   copy_rows(memory_of(to), staged.data(), rows);
                 }));
}

// Into memory that is not pinned a copy is only over when it has run.
CUresult copy_out(void *to, CUdeviceptr from, Rows rows, Stream *stream) {
  if (!reachable(memory_of(from), rows.span(rows.from_pitch))) return CUDA_ERROR_INVALID_VALUE;
  trace("DtoH", stream, std::to_string(rows.total()));
  counted["device_to_host_bytes"] += rows.total();
  const Range *range = holding(pinned, to, rows.span(rows.to_pitch));
  if (range && range->registered) counted["device_to_registered_bytes"] += rows.total();
  const CUresult result = enqueue(
      stream, copying(Engine::copy_out, "copy_out", rows, [=] { copy_rows(to, memory_of(from), rows); }));
  if (result || stream->capture || range) return result ? result : lost;
  counted["device_to_pageable_bytes"] += rows.total();
  drain(stream);
  return lost;
}

CUresult copy_on_device(CUdeviceptr to, CUdeviceptr from, Rows rows, Stream *stream) {
  if (!reachable(memory_of(to), rows.span(rows.to_pitch))) return CUDA_ERROR_INVALID_VALUE;
  if (!reachable(memory_of(from), rows.span(rows.from_pitch))) return CUDA_ERROR_INVALID_VALUE;
  trace("DtoD", stream, std::to_string(rows.total()));
  return enqueue(stream, copying(Engine::compute, "copy_on_device", rows,
                                 [=] { copy_rows(memory_of(to), memory_of(from), rows); }));
}

}  // namespace

extern "C" {

CUresult cuMemcpyHtoDAsync(CUdeviceptr to, const void *from, size_t bytes, CUstream stream) {
  return call([&] { return copy_in(to, from, {bytes}, stream_of(stream)); });
}
CUresult cuMemcpyDtoHAsync(void *to, CUdeviceptr from, size_t bytes, CUstream stream) {
  return call([&] { return copy_out(to, from, {bytes}, stream_of(stream)); });
}
CUresult cuMemcpyDtoDAsync(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream) {
  return call([&] { return copy_on_device(to, from, {bytes}, stream_of(stream)); });
}
// Rows of memory, each `WidthInBytes` long; arrays and the unified kind of memory are not supported.
CUresult cuMemcpy2DAsync(const CUDA_MEMCPY2D *asked, CUstream handle) {
  return call([&] {
    const bool from_host = asked->srcMemoryType == CU_MEMORYTYPE_HOST;
    const bool to_host = asked->dstMemoryType == CU_MEMORYTYPE_HOST;
    if (!from_host && asked->srcMemoryType != CU_MEMORYTYPE_DEVICE) return CUDA_ERROR_NOT_SUPPORTED;
    if (!to_host && asked->dstMemoryType != CU_MEMORYTYPE_DEVICE) return CUDA_ERROR_NOT_SUPPORTED;
    const Rows rows{asked->WidthInBytes, asked->Height, asked->srcPitch, asked->dstPitch};
    if (rows.from_pitch < rows.bytes || rows.to_pitch < rows.bytes) return CUDA_ERROR_INVALID_VALUE;
    const size_t skipped = asked->srcY * asked->srcPitch + asked->srcXInBytes;
    const size_t placed = asked->dstY * asked->dstPitch + asked->dstXInBytes;
    const auto *source = static_cast<const char *>(asked->srcHost) + skipped;
    auto *target = static_cast<char *>(asked->dstHost) + placed;
    Stream *stream = stream_of(handle);
    if (from_host && !to_host) return copy_in(asked->dstDevice + placed, source, rows, stream);
    if (to_host && !from_host) return copy_out(target, asked->srcDevice + skipped, rows, stream);
    if (to_host) return CUDA_ERROR_NOT_SUPPORTED;
    return copy_on_device(asked->dstDevice + placed, asked->srcDevice + skipped, rows, stream);
  });
}
CUresult cuMemcpyHtoD(CUdeviceptr to, const void *from, size_t bytes) {
  return call_outside_captures([&] {
    const CUresult result = copy_in(to, from, {bytes}, &default_stream);
    return drain(&default_stream), result ? result : waited("synchronous_copies");
  });
}
CUresult cuMemcpyDtoH(void *to, CUdeviceptr from, size_t bytes) {
  return call_outside_captures([&] {
    const CUresult result = copy_out(to, from, {bytes}, &default_stream);
    return drain(&default_stream), result ? result : waited("synchronous_copies");
  });
}
}
