#include "core/filter/shared.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "core/base/clock.h"

namespace millrace::filter {
namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;
constexpr std::int64_t kProbeTime = 60'000'000;   // after it another session may try

std::int64_t now_us() {
  return std::chrono::duration_cast<std::chrono::microseconds>(SteadyClock::now().time_since_epoch()).count();
}

std::int64_t micros(std::chrono::seconds span) { return std::chrono::duration_cast<std::chrono::microseconds>(span).count(); }

// FNV-1a; never 0.
std::uint64_t hash(std::string_view text) {
  std::uint64_t value = 14695981039346656037ULL;
  for (const char c : text) value = (value ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
  return value | 1;
}

std::string label(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += static_cast<unsigned char>(c) < ' ' ? '?' : c;
  }
  return out;
}

// The upper end of the bucket in which the `share`-th of all calls lies.
std::string quantile(const SharedFilter& slot, double share) {
  std::uint64_t total = 0, seen = 0;
  for (const auto& count : slot.latency) total += count.load(kRelaxed);
  if (total == 0) return "-";
  for (std::size_t i = 0; i < slot.latency.size(); ++i) {
    seen += slot.latency[i].load(kRelaxed);
    if (static_cast<double>(seen) < share * static_cast<double>(total)) continue;
    return i < kLatencyBounds.size() ? fmt::format("<{}ms", static_cast<double>(kLatencyBounds[i]) / 1000) : ">10s";
  }
  return "-";
}

}  // namespace

bool SharedFilter::enter(std::size_t limit, unsigned process) {
  std::uint32_t now = connections.load(kRelaxed);
  do {
    if (limit != 0 && now >= limit) return false;
  } while (!connections.compare_exchange_weak(now, now + 1));
  by_process[process % kSharedProcesses].fetch_add(1);
  return true;
}

void SharedFilter::leave(unsigned process) {
  by_process[process % kSharedProcesses].fetch_sub(1);
  connections.fetch_sub(1);
}

void SharedFilter::count(const Verdict& verdict, bool is_failure, bool shadow, std::int64_t latency_us) {
  calls.fetch_add(1, kRelaxed);
  actions[static_cast<std::size_t>(verdict.action)].fetch_add(1, kRelaxed);
  if (is_failure) failures.fetch_add(1, kRelaxed);
  if (shadow) shadowed.fetch_add(1, kRelaxed);
  latency_sum_us.fetch_add(static_cast<std::uint64_t>(std::max<std::int64_t>(latency_us, 0)), kRelaxed);
  const auto bucket = std::lower_bound(kLatencyBounds.begin(), kLatencyBounds.end(), latency_us) - kLatencyBounds.begin();
  latency[static_cast<std::size_t>(bucket)].fetch_add(1, kRelaxed);
}

bool SharedFilter::admits(const BreakerRule& rule) {
  if (rule.failures == 0) return true;
  const std::int64_t until = open_until_us.load(kRelaxed);
  if (until == 0) return true;
  const std::int64_t now = now_us();
  if (now < until) return false;
  std::int64_t probe = probe_until_us.load(kRelaxed);
  return now >= probe && probe_until_us.compare_exchange_strong(probe, now + kProbeTime);
}

void SharedFilter::succeeded(const BreakerRule& rule) {
  if (rule.failures == 0) return;
  if (failures_in_row.load(kRelaxed) != 0) failures_in_row.store(0, kRelaxed);
  if (open_until_us.load(kRelaxed) == 0) return;
  open_until_us.store(0);
  opened_us.store(0);
  probe_until_us.store(0);
}

void SharedFilter::failed(const BreakerRule& rule) {
  if (rule.failures == 0) return;
  const std::uint32_t row = failures_in_row.fetch_add(1) + 1;
  if (row < rule.failures && !is_open()) return;
  const std::int64_t now = now_us();
  std::int64_t closed = 0;
  opened_us.compare_exchange_strong(closed, now);
  open_until_us.store(now + micros(rule.open));
  probe_until_us.store(0);
}

bool SharedFilter::in_grace(const BreakerRule& rule) const {
  const std::int64_t opened = opened_us.load(kRelaxed);
  return opened != 0 && now_us() < opened + micros(rule.grace);
}

SharedFilter* SharedFilters::find(std::string_view name) {
  const std::uint64_t key = hash(name);
  for (std::size_t i = 0; i < kSlots; ++i) {
    SharedFilter& slot = slots[(key + i) % kSlots];
    std::uint64_t there = 0;
    if (slot.key.compare_exchange_strong(there, key)) {
      name.copy(slot.name, sizeof slot.name - 1);
      return &slot;
    }
    if (there == key) return &slot;
  }
  return nullptr;
}

void SharedFilters::forget_process(unsigned process) {
  for (SharedFilter& slot : slots) {
    if (const std::uint16_t held = slot.by_process[process % kSharedProcesses].exchange(0); held != 0) slot.connections.fetch_sub(held);
  }
}

std::string prometheus_text(const SharedFilters& filters) {
  std::string out;
  const auto family = [&](const char* name, const char* type, const char* help, const auto& each) {
    out += fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, help, name, type);
    for (const SharedFilter& slot : filters.slots) {
      if (slot.key.load(kRelaxed) != 0) each(slot, fmt::format("filter=\"{}\"", label(slot.name)));
    }
  };
  const auto put = [&](const char* name, const std::string& labels, std::uint64_t value) {
    out += fmt::format("{}{{{}}} {}\n", name, labels, value);
  };
  family("millrace_filter_calls_total", "counter", "Stages and messages a filter was asked about.",
         [&](const SharedFilter& slot, const std::string& labels) { put("millrace_filter_calls_total", labels, slot.calls.load(kRelaxed)); });
  family("millrace_filter_verdicts_total", "counter", "Answers of a filter by action.", [&](const SharedFilter& slot, const std::string& labels) {
    for (std::size_t i = 0; i < kActions; ++i) {
      put("millrace_filter_verdicts_total", labels + fmt::format(",action=\"{}\"", action_name(static_cast<Action>(i))), slot.actions[i].load(kRelaxed));
    }
  });
  family("millrace_filter_failures_total", "counter", "Times a filter could not do its work.",
         [&](const SharedFilter& slot, const std::string& labels) { put("millrace_filter_failures_total", labels, slot.failures.load(kRelaxed)); });
  family("millrace_filter_connections", "gauge", "Connections to a filter now.",
         [&](const SharedFilter& slot, const std::string& labels) { put("millrace_filter_connections", labels, slot.connections.load(kRelaxed)); });
  family("millrace_filter_breaker_open", "gauge", "1 while the circuit breaker of a filter is open.",
         [&](const SharedFilter& slot, const std::string& labels) { put("millrace_filter_breaker_open", labels, slot.is_open() ? 1 : 0); });
  family("millrace_filter_latency_seconds", "histogram", "Time a filter took to answer.", [&](const SharedFilter& slot, const std::string& labels) {
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < slot.latency.size(); ++i) {
      sum += slot.latency[i].load(kRelaxed);
      const std::string end = i < kLatencyBounds.size() ? fmt::format("{}", static_cast<double>(kLatencyBounds[i]) / 1e6) : "+Inf";
      put("millrace_filter_latency_seconds_bucket", labels + ",le=\"" + end + "\"", sum);
    }
    out += fmt::format("millrace_filter_latency_seconds_sum{{{}}} {:.6f}\n", labels, static_cast<double>(slot.latency_sum_us.load(kRelaxed)) / 1e6);
    put("millrace_filter_latency_seconds_count", labels, sum);
  });
  return out;
}

std::string status_text(const SharedFilters& filters) {
  std::string out;
  for (const SharedFilter& slot : filters.slots) {
    if (slot.key.load(kRelaxed) == 0) continue;
    std::string verdicts;
    for (std::size_t i = 1; i < kActions; ++i) {
      if (const std::uint64_t n = slot.actions[i].load(kRelaxed)) verdicts += fmt::format(" {}={}", action_name(static_cast<Action>(i)), n);
    }
    out += fmt::format("filter {}: calls={} failures={} connections={} p50{} p99{}{}{}\n", static_cast<const char*>(slot.name), slot.calls.load(kRelaxed),
                       slot.failures.load(kRelaxed), slot.connections.load(kRelaxed), quantile(slot, 0.5), quantile(slot, 0.99), verdicts,
                       slot.is_open() ? " BREAKER OPEN" : "");
  }
  return out;
}

}  // namespace millrace::filter
