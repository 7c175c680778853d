// The fake device's virtual time: what each operation costs, and which engine of the device carries it out.
#pragma once
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <sstream>
#include <string>

// A GPU copies in, copies out and computes side by side; each engine carries out one operation at a time.
enum class Engine { none, copy_in, copy_out, compute, count };

// Costs in virtual nanoseconds by name. FAKE_CUDA_COSTS="<name>=<ns>,..." sets them and turns virtual time on.
//
//     call, call:<function of the driver>       the host's time for a call
//     first_launch                              the host's further time for the first launch of a function or graph
//     copy_in, copy_out, copy_on_device         a copy, however long
//     copy_in_byte, copy_out_byte, ...          each byte of it, in fractions of a nanosecond if need be
//     kernel, kernel:<function>                 a launch of any or of this function
//     host_read_byte                            each byte of the host's memory that a kernel reads, each time
inline std::map<std::string, double> costs = [] {
  std::map<std::string, double> told;
  std::stringstream text(getenv("FAKE_CUDA_COSTS") ? getenv("FAKE_CUDA_COSTS") : "");
  for (std::string one; std::getline(text, one, ',');)
    told[one.substr(0, one.find('='))] = atof(one.substr(one.find('=') + 1).c_str());
  return told;
}();
inline bool virtual_time = !costs.empty();

inline double cost(const std::string &name) {
  const auto found = costs.find(name);
  return found == costs.end() ? 0 : found->second;
}

// The cost of `kind` where it has one with this suffix, or else of the kind alone.
inline double cost(const std::string &kind, const std::string &name) {
  return costs.count(kind + ":" + name) ? cost(kind + ":" + name) : cost(kind);
}

inline int64_t cost_of_copy(const std::string &kind, size_t bytes) {
  return static_cast<int64_t>(cost(kind) + cost(kind + "_byte") * static_cast<double>(bytes));
}

inline int64_t host_ns;     // the host's virtual clock
inline int64_t instant_ns;  // when the work that is being carried out ends
inline std::array<int64_t, static_cast<size_t>(Engine::count)> free_from_ns;  // of each engine

// When what is carried out now is done: in virtual time, or by the machine's clock.
inline int64_t done_ns() {
  return virtual_time ? instant_ns : std::chrono::steady_clock::now().time_since_epoch().count();
}
