// The fake driver's CUDA graphs: a stream's work is captured once, and launched as often as need be by one call.
#include "fake_call.h"

extern "C" {

CUresult cuStreamBeginCapture(CUstream handle, CUstreamCaptureMode mode) {
  return call([&] {
    Stream *stream = stream_of(handle);
    if (stream == &default_stream) return CUDA_ERROR_INVALID_VALUE;
    if (stream->capture) return spoil(stream->capture, CUDA_ERROR_ILLEGAL_STATE);
    stream->capture = std::make_shared<Capture>(Capture{mode});
    return CUDA_SUCCESS;
  });
}
CUresult cuStreamEndCapture(CUstream handle, CUgraph *graph) {
  return call([&] {
    Stream *stream = stream_of(handle);
    *graph = nullptr;
    if (!stream->capture) return CUDA_ERROR_ILLEGAL_STATE;
    const bool here = stream->capture->thread == std::this_thread::get_id();
    if (!here && stream->capture->mode != CU_STREAM_CAPTURE_MODE_RELAXED)
      return spoil(stream->capture, CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD);
    const auto capture = std::move(stream->capture);
    stream->capture = nullptr;
    if (!capture->valid) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    *graph = reinterpret_cast<CUgraph>(new Graph(std::move(capture->graph)));
    return tally(CUDA_SUCCESS, "graphs");
  });
}
CUresult cuStreamIsCapturing(CUstream handle, CUstreamCaptureStatus *status) {
  return call([&] {
    const auto &capture = stream_of(handle)->capture;
    *status = !capture         ? CU_STREAM_CAPTURE_STATUS_NONE
              : capture->valid ? CU_STREAM_CAPTURE_STATUS_ACTIVE
                               : CU_STREAM_CAPTURE_STATUS_INVALIDATED;
    return CUDA_SUCCESS;
  });
}
CUresult cuGraphDestroy(CUgraph handle) {
  return call([&] { return delete reinterpret_cast<Graph *>(handle), tally(CUDA_SUCCESS, "graphs", -1); });
}
// cuda.h calls it cuGraphInstantiate.
CUresult cuGraphInstantiateWithFlags(CUgraphExec *executable, CUgraph graph, unsigned long long) {
  return call_outside_captures([&] {
    *executable = reinterpret_cast<CUgraphExec>(new Executable{reinterpret_cast<Graph *>(graph)->work});
    return tally(CUDA_SUCCESS, "executable_graphs");
  });
}
CUresult cuGraphExecDestroy(CUgraphExec handle) {
  return call([&] {
    return delete reinterpret_cast<Executable *>(handle), tally(CUDA_SUCCESS, "executable_graphs", -1);
  });
}
// A launch is ordered behind the stream's work, and behind the graph's launch before on any stream.
CUresult cuGraphLaunch(CUgraphExec handle, CUstream on) {
  return call([&] {
    auto *executable = reinterpret_cast<Executable *>(handle);
    Stream *stream = stream_of(on);
    trace("launch-graph", stream, std::to_string(executable->work.size()));
    if (stream->capture) return spoil(stream->capture, CUDA_ERROR_NOT_SUPPORTED);
    ++counted["graph_launches"];
    launched(executable->launched);
    if (executable->last && executable->last->stream != stream)
      enqueue(stream, {[] {}, Engine::none, nullptr, executable->last});
    for (const Operation &operation : executable->work) enqueue(stream, operation);
    executable->last = mark(stream);
    return let_time_pass(), lost;
  });
}
}
