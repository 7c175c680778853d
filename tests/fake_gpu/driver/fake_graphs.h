// What a stream's capture records, and which calls a capture does not allow.
#pragma once
#include <thread>

#include "fake_streams.h"

// Work that can be launched again; it runs in the order in which it was queued.
struct Graph {
  std::vector<Operation> work;
};

// From cuStreamBeginCapture to cuStreamEndCapture of one stream.
struct Capture {
  CUstreamCaptureMode mode;
  std::thread::id thread = std::this_thread::get_id();
  Graph graph{};
  bool valid = true;
};

struct Executable {
  std::vector<Operation> work;
  bool launched = false;
  std::shared_ptr<Mark> last{};  // the end of its last launch, behind which the next one is ordered
};

// Make a capture invalid; what the call that did so answers.
inline CUresult spoil(const std::shared_ptr<Capture> &capture, CUresult error) {
  capture->valid = false;
  return error;
}

// What asking or waiting for an event answers that was recorded last in a capture.
inline CUresult of_a_capture(const Event *event) {
  if (const auto capture = event->capture.lock()) capture->valid = false;
  return CUDA_ERROR_CAPTURED_EVENT;
}

// Whether a capture forbids this thread calls that may be unsafe, such as allocations, waits and queries. Such a
// call makes the capture invalid (CUDA's documentation, cuThreadExchangeStreamCaptureMode).
inline bool is_forbidden() {
  bool forbidden = false;
  for (Stream *stream : streams) {
    const auto &capture = stream->capture;
    if (!capture || capture->mode == CU_STREAM_CAPTURE_MODE_RELAXED) continue;
    const bool here = capture->thread == std::this_thread::get_id();
    if (!here && capture->mode != CU_STREAM_CAPTURE_MODE_GLOBAL) continue;
    capture->valid = false;
    forbidden = true;
  }
  return forbidden;
}

// Queue work on a stream: onto its capture if there is one, else for the device.
inline CUresult enqueue(Stream *stream, Operation operation) {
  if (stream == &default_stream) {
    ++counted["default_stream_work"];
    for (Stream *other : streams)
      if (other->capture && other->blocking) return spoil(other->capture, CUDA_ERROR_STREAM_CAPTURE_IMPLICIT);
  }
  if (const auto &capture = stream->capture) {
    if (!capture->valid) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    return capture->graph.work.push_back(std::move(operation)), CUDA_SUCCESS;
  }
  give(stream, std::move(operation));
  return let_time_pass(), CUDA_SUCCESS;
}
