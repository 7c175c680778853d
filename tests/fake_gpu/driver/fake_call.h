// How each call of the fake driver is made: alone, in a context, counted, and in vain once the device is lost.
#pragma once
#include <mutex>

#include "fake_graphs.h"
#include "fake_memory.h"

inline std::recursive_mutex one_at_a_time;
inline thread_local std::vector<CUcontext> current;  // the stack of contexts of this thread
inline unsigned primary_flags;  // of the only context
inline char primary;  // its address is the handle of the only context
inline std::map<std::string, long> calls;  // of the driver, by function

// Count a call, whose function is the one that calls this, and let it cost the host its time.
inline void note(const char *function = __builtin_FUNCTION()) {
  std::lock_guard<std::recursive_mutex> lock(one_at_a_time);
  ++calls[function];
  if (virtual_time) advance(static_cast<int64_t>(cost("call", function)));
}

// One call of the driver: alone, in a context, and in vain once the device is lost.
template <class Body>
CUresult call(Body body, const char *function = __builtin_FUNCTION()) {
  std::lock_guard<std::recursive_mutex> lock(one_at_a_time);
  note(function);
  if (lost) return lost;
  if (current.empty()) return CUDA_ERROR_INVALID_CONTEXT;
  return body();
}

// A call that a capture of this thread does not allow: it allocates, frees, waits or asks.
template <class Body>
CUresult call_outside_captures(Body body, const char *function = __builtin_FUNCTION()) {
  return call([&] { return is_forbidden() ? CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED : body(); }, function);
}

// The result of a call, counted as one more (or one fewer) of these where it went well.
inline CUresult tally(CUresult result, const char *what, long change = 1) {
  if (result == CUDA_SUCCESS) counted[what] += change;
  return result;
}

// The stream of a handle; the legacy and the per-thread default are one here.
inline Stream *stream_of(CUstream handle) {
  return reinterpret_cast<uintptr_t>(handle) <= 2 ? &default_stream : reinterpret_cast<Stream *>(handle);
}

inline void *memory_of(CUdeviceptr pointer) { return reinterpret_cast<void *>(pointer); }

// Before memory goes back the whole device is waited for; who frees while work runs makes every lane wait.
inline void settle() {
  if (!idle()) ++counted["frees_while_busy"];
  drain_all();
}

// What a wait answers: the device may have been lost on the way. A wait that does not block takes a core.
inline CUresult waited(const char *what, bool blocks = primary_flags & CU_CTX_SCHED_BLOCKING_SYNC) {
  if (!blocks) ++counted["spinning_waits"];
  ++counted[what];
  return lost;
}

// The first launch of a function or a graph loads it, which costs the host time.
inline void launched(bool &before) {
  if (before) return;
  before = true;
  ++counted["first_launches"];
  if (virtual_time) advance(static_cast<int64_t>(cost("first_launch")));
}
