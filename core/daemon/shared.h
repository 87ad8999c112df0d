// Shared memory made by the master before it forks, seen by all fronts of all generations: what must
// hold for the whole server.  Values are plain atomics; a front that dies leaves its slot to be cleared
// by the master.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "core/filter/shared.h"
#include "core/plugin/metrics.h"

namespace millrace::daemon {

constexpr int kMaxFronts = 64;

struct FrontSlot {
  std::atomic<std::uint32_t> sessions;   // open now
};

struct SharedBlock {
  FrontSlot fronts[2][kMaxFronts];       // by generation parity: old and new drain side by side
  filter::SharedFilters filters;
  plugin::SharedMetrics plugin_metrics;
};

// A shared mapping, zeroed; lives until the process ends.  With a path it is that of a fresh file, mode 0600, for
// `millrace status` to look at; else, and when there can be no such file, it has no name.
SharedBlock* map_shared_block(const std::string& path = {});
// That of a running daemon, to be read; nullptr when there is none, or of another version.
const SharedBlock* view_shared_block(const std::string& path);
std::string shared_block_path(const std::string& queue_directory);

}  // namespace millrace::daemon
