// Shared memory made by the master before it forks, seen by all fronts of all generations: what must
// hold for the whole server.  Values are plain atomics; a front that dies leaves its slot to be cleared
// by the master.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

namespace millrace::daemon {

constexpr int kMaxFronts = 64;

struct FrontSlot {
  std::atomic<std::uint32_t> sessions;   // open now
};

struct SharedBlock {
  FrontSlot fronts[2][kMaxFronts];       // by generation parity: old and new drain side by side
};

// An anonymous shared mapping, zeroed; lives until the process ends.
SharedBlock* map_shared_block();

}  // namespace millrace::daemon
