// Shared metrics: see metrics.h.
#include "core/plugin/metrics.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace millrace::plugin {
namespace {

std::uint64_t hash(std::string_view a, std::string_view b) {   // FNV-1a; never 0
  std::uint64_t value = 14695981039346656037ULL;
  for (const std::string_view part : {a, std::string_view("\n"), b}) {
    for (const char c : part) value = (value ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
  }
  return value | 1;
}

}  // namespace

void SharedMetrics::change(std::string_view plugin, std::string_view name, double value, bool add) {
  const std::uint64_t wanted = hash(plugin, name);
  for (std::size_t i = 0; i < kSlots; ++i) {
    SharedMetric& slot = slots[(wanted + i) % kSlots];
    std::uint64_t known = slot.key.load();
    if (known == 0 && slot.key.compare_exchange_strong(known, wanted)) {
      std::memcpy(slot.plugin, plugin.data(), std::min(plugin.size(), sizeof slot.plugin - 1));   // zeroed memory
      std::memcpy(slot.name, name.data(), std::min(name.size(), sizeof slot.name - 1));
      slot.is_gauge = !add;
      known = wanted;
    }
    if (known != wanted) continue;
    if (add) slot.value.fetch_add(value);
    else slot.value.store(value);
    return;
  }
}

std::string prometheus_text(const SharedMetrics& metrics) {
  std::string out;
  for (const bool gauge : {false, true}) {
    const char* const family = gauge ? "millrace_plugin_value" : "millrace_plugin_total";
    out += fmt::format("# HELP {} {}\n# TYPE {} {}\n", family, gauge ? "What a plugin measures." : "What a plugin counts.", family,
                       gauge ? "gauge" : "counter");
    for (const SharedMetric& slot : metrics.slots) {
      if (slot.key.load() == 0 || slot.is_gauge.load() != gauge) continue;
      out += fmt::format("{}{{plugin=\"{}\",name=\"{}\"}} {}\n", family, static_cast<const char*>(slot.plugin),
                         static_cast<const char*>(slot.name), slot.value.load());
    }
  }
  return out;
}

}  // namespace millrace::plugin
