// The fake driver's streams, events and kernels: what is queued, and what waits for it.
#include <algorithm>
#include <dlfcn.h>

#include "fake_call.h"
#include "fake_kernels.h"

extern "C" {

// Streams.

CUresult cuStreamCreate(CUstream *handle, unsigned) {
  return call([&] {
    static int made = 0;
    auto *stream = new Stream{++made, {}};
    streams.push_back(stream);
    *handle = reinterpret_cast<CUstream>(stream);
    return tally(CUDA_SUCCESS, "streams");
  });
}
CUresult cuStreamDestroy(CUstream handle) {
  return call([&] {
    Stream *stream = stream_of(handle);
    drain(stream);
    streams.erase(std::find(streams.begin(), streams.end(), stream));
    delete stream;
    return tally(lost, "streams", -1);
  });
}
CUresult cuStreamSynchronize(CUstream handle) {
  return call([&] {
    trace("synchronize-stream", stream_of(handle), "");
    drain(stream_of(handle));
    return waited("stream_synchronisations");
  });
}

// Events.

CUresult cuEventCreate(CUevent *handle, unsigned flags) {
  return call([&] {
    *handle = reinterpret_cast<CUevent>(new Event{!(flags & CU_EVENT_DISABLE_TIMING), nullptr});
    return tally(CUDA_SUCCESS, "events");
  });
}
CUresult cuEventDestroy(CUevent handle) {
  return call([&] { return delete reinterpret_cast<Event *>(handle), tally(CUDA_SUCCESS, "events", -1); });
}
CUresult cuEventRecord(CUevent handle, CUstream stream) {
  return call([&] {
    reinterpret_cast<Event *>(handle)->last = mark(stream_of(stream));
    trace("record-event", stream_of(stream), "");
    let_time_pass();
    return CUDA_SUCCESS;
  });
}
CUresult cuEventSynchronize(CUevent handle) {
  return call([&] {
    const auto &last = reinterpret_cast<Event *>(handle)->last;
    trace("synchronize-event", last ? last->stream : nullptr, "");
    if (last) run_until(last);
    return waited("event_synchronisations");
  });
}
CUresult cuEventQuery(CUevent handle) {  // while it is asked, the device gets on with the stream's oldest work
  return call([&] {
    const auto &last = reinterpret_cast<Event *>(handle)->last;
    if (last && !last->reached && !last->stream->queue.empty()) step(last->stream);
    return lost ? lost : !last || last->reached ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
  });
}
CUresult cuEventElapsedTime(float *ms, CUevent from, CUevent to) {
  return call([&] {
    const auto *begin = reinterpret_cast<Event *>(from), *end = reinterpret_cast<Event *>(to);
    if (!begin->timed || !end->timed || !begin->last || !end->last) return CUDA_ERROR_INVALID_HANDLE;
    if (!begin->last->reached || !end->last->reached) return CUDA_ERROR_NOT_READY;
    *ms = std::chrono::duration<float, std::milli>(end->last->when - begin->last->when).count();
    return CUDA_SUCCESS;
  });
}

// Kernels: host functions of the library that FAKE_CUDA_KERNELS names.

CUresult cuModuleLoadDataEx(CUmodule *module, const void *image, unsigned, CUjit_option *, void **) {
  return call([&] {
    if (!is_image(image)) return CUDA_ERROR_INVALID_IMAGE;
    const char *path = getenv("FAKE_CUDA_KERNELS");
    void *library = path ? dlopen(path, RTLD_NOW) : nullptr;
    if (!library) {
      fprintf(stderr, "fake CUDA driver: FAKE_CUDA_KERNELS: %s\n", path ? dlerror() : "not set");
      return CUDA_ERROR_NOT_FOUND;
    }
    *module = static_cast<CUmodule>(library);
    return tally(CUDA_SUCCESS, "modules");
  });
}
CUresult cuModuleLoadData(CUmodule *module, const void *image) {
  return cuModuleLoadDataEx(module, image, 0, nullptr, nullptr);
}
CUresult cuModuleLoad(CUmodule *module, const char *path) {
  FILE *file = fopen(path, "rb");
  if (!file) return CUDA_ERROR_FILE_NOT_FOUND;
  char head[4096] = {};
  const bool empty = fread(head, 1, sizeof head - 1, file) == 0;
  fclose(file);
  return empty ? CUDA_ERROR_INVALID_IMAGE : cuModuleLoadData(module, head);
}
CUresult cuModuleUnload(CUmodule) { return call([] { return tally(CUDA_SUCCESS, "modules", -1); }); }
CUresult cuModuleGetFunction(CUfunction *handle, CUmodule module, const char *name) {
  return call([&] {
    const std::string symbol = std::string("fake_") + name;
    auto *run = reinterpret_cast<decltype(Function::run)>(dlsym(module, symbol.c_str()));
    auto *sizes = static_cast<const int *>(dlsym(module, (symbol + "_sizes").c_str()));
    if (!run || !sizes) return CUDA_ERROR_NOT_FOUND;
    static std::map<std::string, Function> found;
    *handle = reinterpret_cast<CUfunction>(&(found[name] = {name, run, sizes}));
    return CUDA_SUCCESS;
  });
}
CUresult cuFuncSetBlockShape(CUfunction, int x, int y, int z) {  // pycuda still says it before each launch
  return x > 0 && y > 0 && z > 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}
CUresult cuLaunchKernel(CUfunction handle, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
                        unsigned bz, unsigned, CUstream stream, void **parameters, void **extra) {
  return call([&] {
    const Function function = *reinterpret_cast<Function *>(handle);
    if (!gx || !gy || !gz || !bx || !by || !bz || bx * by * bz > 1024) return CUDA_ERROR_INVALID_VALUE;
    std::vector<char> values = packed(function.sizes, parameters, extra);
    if (values.empty()) return CUDA_ERROR_INVALID_VALUE;
    ++counted["launches"];
    trace("launch", stream_of(stream), function.name);
    enqueue(stream_of(stream), [=]() mutable {
      std::vector<void *> each;
      for (size_t offset : offsets_of(function.sizes)) each.push_back(&values[0] + offset);
      function.run(each.data(), gx, gy, gz, bx, by, bz);
    });
    return CUDA_SUCCESS;
  });
}
}
