// What all processes know of each filter: connections in use, the state of its circuit breaker, and what it
// was asked, answered and took.  Lives in shared memory that the master makes; tools and tests have none.
//
// Promise: plain atomics, no locks; a process that dies is forgotten by forget_process().
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/filter/verdict.h"

namespace millrace::filter {

constexpr std::size_t kSharedProcesses = 130;   // fronts of two generations, and the queue process
constexpr std::size_t kActions = static_cast<std::size_t>(Action::disconnect) + 1;

// Upper ends of the latency histogram, in microseconds; the last bucket has none.
constexpr std::array<std::int64_t, 11> kLatencyBounds = {100,    300,     1'000,   3'000,     10'000,    30'000,
                                                         100'000, 300'000, 1'000'000, 3'000'000, 10'000'000};

// Main.cf's `breaker = FAILURES/TIME/GRACE`.
struct BreakerRule {
  unsigned failures = 0;             // in a row, until it opens; 0: there is no breaker
  std::chrono::seconds open{30};     // how long nobody asks; then one session tries
  std::chrono::seconds grace{0};     // for so long after it opened mail is put off, whatever default_action says
};

struct SharedFilter {
  std::atomic<std::uint64_t> key;    // 0: free
  char name[120];

  std::atomic<std::uint32_t> connections;
  std::array<std::atomic<std::uint16_t>, kSharedProcesses> by_process;

  std::atomic<std::uint32_t> failures_in_row;
  std::atomic<std::int64_t> open_until_us, opened_us, probe_until_us;   // steady clock; 0: closed

  std::atomic<std::uint64_t> calls, failures, shadowed, latency_sum_us;
  std::array<std::atomic<std::uint64_t>, kActions> actions;
  std::array<std::atomic<std::uint64_t>, kLatencyBounds.size() + 1> latency;

  // One more connection of `process` unless there are `limit` (0: no limit).
  bool enter(std::size_t limit, unsigned process);
  void leave(unsigned process);
  void count(const Verdict& verdict, bool failed, bool shadow, std::int64_t latency_us);

  // May the filter be asked?  False while the breaker is open; when its time is over one caller is let through.
  bool admits(const BreakerRule& rule);
  void succeeded(const BreakerRule& rule);
  void failed(const BreakerRule& rule);
  bool is_open() const { return open_until_us.load(std::memory_order_relaxed) != 0; }
  bool in_grace(const BreakerRule& rule) const;
};

struct SharedFilters {
  static constexpr std::size_t kSlots = 96;
  std::array<SharedFilter, kSlots> slots;

  // The slot of a filter, made when there is none; nullptr when all are taken.
  SharedFilter* find(std::string_view name);
  void forget_process(unsigned process);
};

// Counters and histograms in Prometheus' text format, version 0.0.4.
std::string prometheus_text(const SharedFilters& filters);
// The same for people, one line a filter.
std::string status_text(const SharedFilters& filters);

}  // namespace millrace::filter
