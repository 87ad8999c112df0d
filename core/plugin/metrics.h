// What plugins count ("mr.metrics/1"), summed over all processes: shared memory that the master makes.
//
// Promise: plain atomics, no locks; names beyond kSlots are not shown, which costs nobody anything else.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

namespace millrace::plugin {

struct SharedMetric {
  std::atomic<std::uint64_t> key;   // 0: free
  char plugin[80], name[72];
  std::atomic<double> value;
  std::atomic<bool> is_gauge;       // what goes up and down: the last process to set it counts
};

struct SharedMetrics {
  static constexpr std::size_t kSlots = 256;
  std::array<SharedMetric, kSlots> slots;

  void change(std::string_view plugin, std::string_view name, double value, bool add);
};

// Prometheus' text format: millrace_plugin_total and millrace_plugin_value with the labels plugin and name.
std::string prometheus_text(const SharedMetrics& metrics);

}  // namespace millrace::plugin
