// `postsuper -s`: looks at every message of a store, and saves what is readable from a damaged one.
//
// Promise: the damaged store is renamed, never changed; what was saved is durable in a new one under the same queue
// ids.  The daemon must be down.  Reading a ruined database may crash: it is done in child processes, and the message
// at which one dies is left out.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "core/base/result.h"

namespace millrace::tools {

struct Salvage {
  std::size_t good = 0;                 // readable messages
  std::vector<std::string> damaged;     // queue ids, or what else could not be read
  std::string kept_as;                  // where the damaged store is now; "" when there was nothing to save
};

// Errors: refused (the daemon runs, or not permitted), io.
Result<Salvage> salvage_store(const std::string& queue_directory);

}  // namespace millrace::tools
