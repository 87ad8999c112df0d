// A Lua state in which a policy may run: capped memory, no files, no code loading, no finalizers,
// pattern matching of bounded cost, globals fixed once the file has run.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/result.h"

struct lua_State;

namespace millrace::net {
class Resolver;
}

namespace millrace::lua {

struct Budget {
  std::int64_t instructions = 1'000'000;           // VM instructions of one call; about 10 ms
  std::size_t memory_bytes = 8u << 20;             // of the whole state
  std::chrono::milliseconds time{5000};            // of one call, waiting included
};

// What one call may still use.  The running call of this thread is current_call(); host functions that
// suspend must put it back when they go on.
struct Call {
  std::int64_t instructions_left = 0;
  Deadline deadline;
  bool exceeded = false;
  int line = 0;                     // where the script was last seen, for errors that carry no position
  const log::Logger* log = nullptr;
  net::Resolver* resolver = nullptr;
};
Call*& current_call();

// One state and what it has allocated.  Not thread-safe.
class Sandbox {
 public:
  explicit Sandbox(const Budget& budget);
  ~Sandbox();
  Sandbox(const Sandbox&) = delete;

  // Runs the file's main chunk; afterwards no new global can be made.  Errors: config, "file:line: why".
  Result<void> load(const std::string& path, Call& call);

  lua_State* state() { return state_; }
  // More than half of the memory is held though no call runs: time for a fresh state.
  bool is_bloated() const { return used_ > budget_.memory_bytes / 2; }
  void collect();

  // Installs the budget's hook on a thread of this state.
  void arm(lua_State* thread);

 private:
  static void* allocate(void* self, void* block, std::size_t old_size, std::size_t new_size);
  Budget budget_;
  std::size_t used_ = 0;
  lua_State* state_ = nullptr;
};

// Message handler of protected calls: an error object that is no text becomes one with its position.
int explain_error(lua_State* state);

// Charges `amount` instructions to the running call for work done in C; raises a Lua error when they
// are used up.
void charge(lua_State* state, std::int64_t amount);

// The concepts a script sees; each sets one global table.
void open_dns(lua_State* state);   // dns.a, dns.aaaa, dns.mx, dns.txt, dns.ns, dns.ptr
void open_log(lua_State* state);   // log.info, log.warning

}  // namespace millrace::lua
