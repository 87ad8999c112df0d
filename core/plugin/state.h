// State of plugins that outlives a session: the side of "mr.kv/1" that a host provides.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "core/base/log.h"
#include "core/base/result.h"

namespace millrace::plugin {

// [any thread; an implementation that talks to a server suspends on a fiber]
class State {
 public:
  virtual ~State() = default;
  virtual Result<std::optional<std::string>> get(const std::string& key) = 0;
  // ttl 0: for as long as there is room.
  virtual Result<void> put(const std::string& key, std::string value, std::chrono::nanoseconds ttl) = 0;
  // A missing entry counts as 0.  Error protocol: the value is no number.
  virtual Result<std::int64_t> add(const std::string& key, std::int64_t delta, std::chrono::nanoseconds ttl) = 0;
  virtual Result<void> remove(const std::string& key) = 0;
  // A new end; false: it is not there.
  virtual Result<bool> expire(const std::string& key, std::chrono::nanoseconds ttl) = 0;
};

// In this process's memory, at most about `limit` bytes: what was written longest ago goes first.
std::shared_ptr<State> make_memory_state(std::size_t limit);

// In LMDB below `directory`, shared by all processes that open it.  Opened at first use: by whom the process is by
// then, after its last fork.  Where it cannot be opened, in memory, with a line in the log.
std::shared_ptr<State> make_shared_state(std::string directory, std::size_t memory_limit, log::Logger log);

}  // namespace millrace::plugin
