// Key-value state that may be lost: verify cache, greylists, counters.  One LMDB environment of its own below
// data_directory, shared by all processes of the daemon.
//
// Promise: the state is bounded (entries, key, value), every entry has an end, and a damaged environment costs its
// content, never the service: it is made anew with a line in the log.  Nothing is synced: a power cut may cost the
// whole state, a crash of our processes costs nothing.  Not for what must not be lost.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/result.h"

namespace millrace::kv {

constexpr std::size_t kMaxValue = 2000;

struct Options {
  std::string directory;                 // made when it is missing, for its owner alone
  std::size_t max_entries = 500'000;     // beyond it those go that would end soonest
  std::size_t map_bytes = std::size_t{1} << 30;   // address space, not disk
  log::Logger log{"postfix/millrace"};
};

// One per process; opened after the last fork.  [any thread]; [fiber]: the work is done on the worker pool; outside of a
// fiber (tools, tests, threads) it blocks.
class Store {
 public:
  // Errors: io, config.
  static Result<std::shared_ptr<Store>> open(const Options& options);
  virtual ~Store() = default;   // close()

  // What is not there and what has ended are the same.  Reads the memory map: never waits.
  virtual Result<std::optional<std::string>> get(std::string_view key) = 0;
  // `ends` in the past removes.  Errors: too_large (value), io.
  virtual Result<void> set(std::string_view key, std::string_view value, WallMicros ends) = 0;            // [fiber]
  virtual Result<void> remove(std::string_view key) = 0;                                                  // [fiber]
  // Adds to a counter and gives the sum.  One that is not there starts at 0 and ends `lives` from now; one that is
  // there keeps its end.
  virtual Result<std::int64_t> incr(std::string_view key, std::int64_t by, std::chrono::seconds lives) = 0;  // [fiber]
  // A new end for an entry; false: it is not there.
  virtual Result<bool> expire(std::string_view key, WallMicros ends) = 0;                                 // [fiber]
  // Read, change and write as one step among all processes.  `edit` gets what is there and gives the new value and its
  // end, or nothing to leave it as it is.  It runs on a worker thread and must not wait.
  struct Change {
    std::string value;
    WallMicros ends = 0;         // kSameEnd: as it was
  };
  static constexpr WallMicros kSameEnd = -1;
  using Edit = std::function<std::optional<Change>(const std::optional<std::string>&)>;
  virtual Result<void> change(std::string_view key, const Edit& edit) = 0;                                // [fiber]

  // Removes what has ended; to be called once in a while by one process.  How many stay.
  virtual Result<std::size_t> sweep() = 0;                                                                // [fiber]
  // Writes all out; when no other process has the state open, it then survives a restart of the machine.
  virtual void close() = 0;
};

}  // namespace millrace::kv
