// Streams whose work runs only when something waits for it, which is as late as a GPU may ever be.
#pragma once
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <cuda.h>

struct Stream;

// A place in a stream's order that an event was recorded at.
struct Mark {
  Stream *stream;
  bool reached = false;
  std::chrono::steady_clock::time_point when{};
};

struct Stream {
  int number = 0;  // 0 is the default stream, the others count from 1
  std::deque<std::function<void()>> queue;
};

struct Event {
  bool timed = true;
  std::shared_ptr<Mark> last;  // where it was recorded last; null: never
};

inline std::map<std::string, long> counted;  // what a test may ask for
inline CUresult lost = CUDA_SUCCESS;         // not so: the device is gone, and every call says this
// Operations until the device is lost, as FAKE_CUDA_LOSE_AFTER says; negative: it never is.
inline long operations_left = getenv("FAKE_CUDA_LOSE_AFTER") ? atol(getenv("FAKE_CUDA_LOSE_AFTER")) : -1;
inline Stream default_stream;
inline std::vector<Stream *> streams{&default_stream};

// One line of the trace that FAKE_CUDA_TRACE names: what was asked, of which stream, and how much of it.
inline void trace(const char *what, const Stream *stream, const std::string &detail) {
  static FILE *file = getenv("FAKE_CUDA_TRACE") ? fopen(getenv("FAKE_CUDA_TRACE"), "w") : nullptr;
  if (!file) return;
  fprintf(file, "%s %d %s\n", what, stream ? stream->number : -1, detail.c_str());
  fflush(file);
}

// From now on nothing works: what was queued is never carried out.
inline void lose_device(CUresult why) {
  lost = why;
  for (Stream *stream : streams) stream->queue.clear();
}

// Carry out the oldest work of a stream.
inline void step(Stream *stream) {
  const auto work = std::move(stream->queue.front());
  stream->queue.pop_front();
  if (operations_left == 0) return lose_device(CUDA_ERROR_LAUNCH_FAILED);
  if (operations_left > 0) --operations_left;
  work();
}

inline void run_until(const std::shared_ptr<Mark> &mark) {
  while (!mark->reached && !mark->stream->queue.empty()) step(mark->stream);
}

inline void drain(Stream *stream) {
  while (!stream->queue.empty()) step(stream);
}

inline bool idle() {
  for (Stream *stream : streams)
    if (!stream->queue.empty()) return false;
  return true;
}

inline void drain_all() {
  for (Stream *stream : streams) drain(stream);
}

// A mark behind everything that the stream has been given.
inline std::shared_ptr<Mark> mark(Stream *stream) {
  auto made = std::make_shared<Mark>(Mark{stream});
  stream->queue.push_back([made] {
    made->reached = true;
    made->when = std::chrono::steady_clock::now();
  });
  return made;
}

// FAKE_CUDA_EAGER=1: work runs as soon as it is queued. FAKE_CUDA_SHUFFLE=<seed>: some of it, of any stream.
inline void let_time_pass() {
  static const bool eager = getenv("FAKE_CUDA_EAGER") != nullptr;
  static const char *seed = getenv("FAKE_CUDA_SHUFFLE");
  static std::mt19937 dice(seed ? atoi(seed) : 0);
  if (eager) return drain_all();
  if (!seed) return;
  for (unsigned throws = dice() % 4; throws; --throws) {
    Stream *stream = streams[dice() % streams.size()];
    if (!stream->queue.empty()) step(stream);
  }
}

inline void enqueue(Stream *stream, std::function<void()> run) {
  if (stream == &default_stream) ++counted["default_stream_work"];
  stream->queue.push_back(std::move(run));
  let_time_pass();
}
