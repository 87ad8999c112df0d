// The agents that talk to nobody: error, retry, discard (error(8), discard(8)), and what stands in for a
// transport whose command is not there yet.
#pragma once

#include <memory>
#include <string>

#include "core/deliver/attempt.h"

namespace millrace::deliver {

// Bounces everything; the next hop is the reason, an enhanced code before it is taken.
std::unique_ptr<Agent> make_error_agent();
// The same, but defers.
std::unique_ptr<Agent> make_retry_agent();
// Throws everything away and says it was sent.
std::unique_ptr<Agent> make_discard_agent();
// Defers with a fixed text: "4.3.0", "mail transport unavailable".
std::unique_ptr<Agent> make_unavailable_agent();

}  // namespace millrace::deliver
