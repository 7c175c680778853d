// The fake driver's streams, events and kernels: what is queued, and what waits for it.
#include <algorithm>
#include <dlfcn.h>

#include "fake_call.h"
#include "fake_kernels.h"

extern "C" {

// Streams.

CUresult cuStreamCreate(CUstream *handle, unsigned flags) {
  return call([&] {
    static int made = 0;
    auto *stream = new Stream{++made, !(flags & CU_STREAM_NON_BLOCKING)};
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
  return call_outside_captures([&] {
    Stream *stream = stream_of(handle);
    if (stream->capture) return spoil(stream->capture, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    trace("synchronize-stream", stream, "");
    drain(stream);
    return waited("stream_synchronisations");
  });
}
CUresult cuStreamQuery(CUstream handle) {
  return call_outside_captures([&] {
    Stream *stream = stream_of(handle);
    if (stream->capture) return spoil(stream->capture, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    let_time_pass();
    return lost ? lost : is_done(stream) ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
  });
}
// What the stream is given from now on waits for the event; one that was never recorded is not waited for.
CUresult cuStreamWaitEvent(CUstream handle, CUevent event, unsigned) {
  return call([&] {
    Stream *stream = stream_of(handle);
    ++counted["stream_waits"];
    trace("wait-for-event", stream, "");
    const auto *waited_for = reinterpret_cast<Event *>(event);
    if (stream->capture && waited_for->capture.lock() != stream->capture)
      return spoil(stream->capture, CUDA_ERROR_STREAM_CAPTURE_ISOLATION);
    if (waited_for->captured && !stream->capture) return of_a_capture(waited_for);  // no capture of two streams here
    if (stream->capture || !waited_for->last) return CUDA_SUCCESS;
    return enqueue(stream, {[] {}, Engine::none, nullptr, waited_for->last});
  });
}

// Events.

CUresult cuEventCreate(CUevent *handle, unsigned flags) {
  return call([&] {
    *handle = reinterpret_cast<CUevent>(new Event{!(flags & CU_EVENT_DISABLE_TIMING), (flags & CU_EVENT_BLOCKING_SYNC) != 0, nullptr});
    return tally(CUDA_SUCCESS, "events");
  });
}
CUresult cuEventDestroy(CUevent handle) {
  return call([&] { return delete reinterpret_cast<Event *>(handle), tally(CUDA_SUCCESS, "events", -1); });
}
CUresult cuEventRecord(CUevent handle, CUstream on) {
  return call([&] {
    auto *event = reinterpret_cast<Event *>(handle);
    Stream *stream = stream_of(on);
    event->captured = stream->capture != nullptr;
    event->capture = stream->capture;
    if (event->captured) return CUDA_SUCCESS;
    event->last = mark(stream);
    trace("record-event", stream, "");
    return let_time_pass(), CUDA_SUCCESS;
  });
}
CUresult cuEventSynchronize(CUevent handle) {
  return call_outside_captures([&] {
    const auto *event = reinterpret_cast<Event *>(handle);
    if (event->captured) return of_a_capture(event);
    trace("synchronize-event", event->last ? event->last->stream : nullptr, "");
    if (event->last) run_until(event->last);
    return waited("event_synchronisations", event->blocks);
  });
}
CUresult cuEventQuery(CUevent handle) {
  return call_outside_captures([&] {
    const auto *event = reinterpret_cast<Event *>(handle);
    if (event->captured) return of_a_capture(event);
    if (virtual_time) advance(0);
    // Outside of virtual time the device gets on with the stream's oldest work while it is asked.
    else if (event->last && !event->last->reached && !event->last->stream->queue.empty()) step(event->last->stream);
    return lost ? lost : !event->last || event->last->reached ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
  });
}
CUresult cuEventElapsedTime(float *ms, CUevent from, CUevent to) {
  return call([&] {
    const auto *begin = reinterpret_cast<Event *>(from), *end = reinterpret_cast<Event *>(to);
    if (!begin->timed || !end->timed || !begin->last || !end->last) return CUDA_ERROR_INVALID_HANDLE;
    if (!begin->last->reached || !end->last->reached) return CUDA_ERROR_NOT_READY;
    *ms = static_cast<float>(end->last->when_ns - begin->last->when_ns) / 1e6f;
    return CUDA_SUCCESS;
  });
}

// Kernels: host functions of the library that FAKE_CUDA_KERNELS names.

CUresult cuModuleLoadDataEx(CUmodule *module, const void *image, unsigned, CUjit_option *, void **) {
  return call_outside_captures([&] {
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
CUresult cuModuleUnload(CUmodule) { return call_outside_captures([] { return tally(CUDA_SUCCESS, "modules", -1); }); }
CUresult cuModuleGetFunction(CUfunction *handle, CUmodule module, const char *name) {
  return call([&] {
    const std::string symbol = std::string("fake_") + name;
    auto *run = reinterpret_cast<decltype(Function::run)>(dlsym(module, symbol.c_str()));
    auto *sizes = static_cast<const int *>(dlsym(module, (symbol + "_sizes").c_str()));
    if (!run || !sizes) return CUDA_ERROR_NOT_FOUND;
    *handle = reinterpret_cast<CUfunction>(new Function{name, run, sizes});  // kept, as the library is
    return CUDA_SUCCESS;
  });
}
CUresult cuFuncSetBlockShape(CUfunction, int x, int y, int z) {  // pycuda still says it before each launch
  note();
  return x > 0 && y > 0 && z > 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}
CUresult cuLaunchKernel(CUfunction handle, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
                        unsigned bz, unsigned, CUstream stream, void **parameters, void **extra) {
  return call([&] {
    auto &function = *reinterpret_cast<Function *>(handle);
    if (!gx || !gy || !gz || !bx || !by || !bz || bx * by * bz > 1024) return CUDA_ERROR_INVALID_VALUE;
    std::vector<char> values = packed(function.sizes, parameters, extra);
    if (values.empty()) return CUDA_ERROR_INVALID_VALUE;
    Stream *queue = stream_of(stream);
    ++counted[queue->capture ? "captured_launches" : "launches"];
    if (!queue->capture) launched(function.launched);
    trace("launch", queue, function.name);
    const auto run = [function, values, gx, gy, gz, bx, by, bz]() mutable {
      ++counted["kernels"];
      std::vector<void *> each;
      for (size_t offset : offsets_of(function.sizes)) each.push_back(&values[0] + offset);
      function.run(each.data(), gx, gy, gz, bx, by, bz);
    };
    const auto costs = [name = function.name] { return static_cast<int64_t>(cost("kernel", name)); };
    return enqueue(queue, {run, Engine::compute, costs});
  });
}
}
