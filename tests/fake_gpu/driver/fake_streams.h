// Streams whose work runs only when something waits for it, which is as late as a GPU may ever be.
#pragma once
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <cuda.h>

#include "fake_time.h"

struct Stream;
struct Capture;

// A place in a stream's order that an event was recorded at.
struct Mark {
  Stream *stream;
  bool reached = false;
  int64_t when_ns = 0;
};

struct Operation {
  std::function<void()> run;
  Engine engine = Engine::none;
  std::function<int64_t()> cost{};  // asked when the device is given it; null: it takes no time
  std::shared_ptr<Mark> after;  // it does not start before this place is reached; null: it need not wait
  int64_t cost_ns = 0;
  int64_t queued_ns = 0;
  long number = 0;  // in the order in which the host queued them
};

struct Stream {
  int number = 0;  // 0 is the default stream, the others count from 1
  bool blocking = true;  // it waits for the default stream, and makes it wait
  std::deque<Operation> queue;
  bool busy = false;        // its oldest operation runs, in virtual time
  int64_t free_ns = 0;      // when its last operation ended
  std::shared_ptr<Capture> capture;  // where its work goes instead of to the device; null: nowhere
};

struct Event {
  bool timed = true, blocks = false;
  std::shared_ptr<Mark> last;         // where it was recorded last; null: never
  bool captured = false;              // it was recorded last in a capture, so it cannot be asked or waited for
  std::weak_ptr<Capture> capture{};   // that capture, until it ends
};

struct Running {
  int64_t end_ns;
  Stream *stream;
  Operation operation;
};

inline std::map<std::string, long> counted;  // what a test may ask for
inline CUresult lost = CUDA_SUCCESS;         // not so: the device is gone, and every call says this
// Operations until the device is lost, as FAKE_CUDA_LOSE_AFTER says; negative: it never is.
inline long operations_left = getenv("FAKE_CUDA_LOSE_AFTER") ? atol(getenv("FAKE_CUDA_LOSE_AFTER")) : -1;
inline Stream default_stream;
inline std::vector<Stream *> streams{&default_stream};
inline std::list<Running> running;  // in virtual time

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
  running.clear();
  for (Stream *stream : streams) stream->queue.clear(), stream->busy = false;
}

inline void carry_out(const Operation &operation) {
  if (operations_left == 0) return lose_device(CUDA_ERROR_LAUNCH_FAILED);
  if (operations_left > 0) --operations_left;
  operation.run();
}

inline void run_until(const std::shared_ptr<Mark> &mark);

// Carry out the oldest work of a stream, and first what it waits for.
inline void step(Stream *stream) {
  const Operation operation = std::move(stream->queue.front());
  stream->queue.pop_front();
  if (operation.after) run_until(operation.after);
  if (!lost) carry_out(operation);
}

// In virtual time, the next thing that happens on the device: an operation ends or, if none ends before, one
// starts. False: nothing does, or not before `limit_ns`.
inline bool happens_next(int64_t limit_ns) {
  auto ends = std::min_element(running.begin(), running.end(),
                               [](const Running &a, const Running &b) { return a.end_ns < b.end_ns; });
  Stream *starts = nullptr;
  std::tuple<int64_t, int64_t, long> first{};  // when it can start, since when it is ready, its number
  for (Stream *stream : streams) {
    if (stream->busy || stream->queue.empty()) continue;
    const Operation &head = stream->queue.front();
    if (head.after && !head.after->reached) continue;
    const int64_t ready = std::max({head.queued_ns, stream->free_ns, head.after ? head.after->when_ns : 0});
    const bool engaged = head.engine != Engine::none;
    const int64_t start = engaged ? std::max(ready, free_from_ns[static_cast<size_t>(head.engine)]) : ready;
    if (!starts || std::tuple(start, ready, head.number) < first)
      starts = stream, first = {start, ready, head.number};
  }
  const int64_t start_ns = std::get<0>(first);
  if (ends != running.end() && (!starts || ends->end_ns <= start_ns)) {
    if (ends->end_ns > limit_ns) return false;
    const Running ended = std::move(*ends);
    running.erase(ends);
    instant_ns = ended.stream->free_ns = ended.end_ns;
    ended.stream->busy = false;
    long &read = counted["host_bytes_read_by_kernels"];
    const long before = read;
    carry_out(ended.operation);
    // Known only now: what it read of the host's memory took longer.
    if (const auto more_ns = static_cast<int64_t>(cost("host_read_byte") * static_cast<double>(read - before))) {
      instant_ns = ended.stream->free_ns = ended.end_ns + more_ns;
      free_from_ns[static_cast<size_t>(ended.operation.engine)] = instant_ns;
    }
    return true;
  }
  if (!starts || start_ns > limit_ns) return false;
  Operation operation = std::move(starts->queue.front());
  starts->queue.pop_front();
  starts->busy = true;
  const int64_t end_ns = start_ns + operation.cost_ns;
  if (operation.engine != Engine::none) free_from_ns[static_cast<size_t>(operation.engine)] = end_ns;
  running.push_back({end_ns, starts, std::move(operation)});
  return true;
}

// Let the host's virtual clock run for `ns`, and the device with it.
inline void advance(int64_t ns) {
  host_ns += ns;
  while (happens_next(host_ns)) {
  }
}

// In virtual time, wait for something that a stream's work makes true: the host's clock goes on until then.
template <class Done>
void wait_for(Done done) {
  while (!done() && happens_next(INT64_MAX)) host_ns = std::max(host_ns, instant_ns);
}

inline bool is_done(const Stream *stream) { return stream->queue.empty() && !stream->busy; }

inline void run_until(const std::shared_ptr<Mark> &mark) {
  if (virtual_time) return wait_for([&] { return mark->reached; });
  while (!mark->reached && !mark->stream->queue.empty()) step(mark->stream);
}

inline void drain(Stream *stream) {
  if (virtual_time) return wait_for([&] { return is_done(stream); });
  while (!stream->queue.empty()) step(stream);
}

inline bool idle() { return std::all_of(streams.begin(), streams.end(), is_done); }

inline void drain_all() {
  for (Stream *stream : streams) drain(stream);
}

// FAKE_CUDA_EAGER=1: work runs as soon as it is queued. FAKE_CUDA_SHUFFLE=<seed>: some of it, of any stream.
inline void let_time_pass() {
  static const bool eager = getenv("FAKE_CUDA_EAGER") != nullptr;
  static const char *seed = getenv("FAKE_CUDA_SHUFFLE");
  static std::mt19937 dice(seed ? atoi(seed) : 0);
  if (virtual_time) return advance(0);
  if (eager) return drain_all();
  if (!seed) return;
  for (unsigned throws = dice() % 4; throws; --throws) {
    Stream *stream = streams[dice() % streams.size()];
    if (!stream->queue.empty()) step(stream);
  }
}

// Give the device work, whether or not the stream's work is captured.
inline void give(Stream *stream, Operation operation) {
  static long number = 0;
  operation.queued_ns = host_ns, operation.number = ++number;
  if (virtual_time && operation.cost) operation.cost_ns = operation.cost();
  stream->queue.push_back(std::move(operation));
}

// A mark behind everything that the stream has been given.
inline std::shared_ptr<Mark> mark(Stream *stream) {
  auto made = std::make_shared<Mark>(Mark{stream});
  give(stream, {[made] { made->reached = true, made->when_ns = done_ns(); }});
  return made;
}
