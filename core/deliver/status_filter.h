// Delivery status filters (default_, smtp_, lmtp_, local_, virtual_, pipe_delivery_status_filter): tables that change the
// enhanced status code and the text of what a delivery agent reports.
//
// Promise: a filter can make a failure temporary or final, never a failure into a success or the reverse.  A table that
// fails, or gives what cannot be used, changes nothing and is logged.
#pragma once

#include <memory>

#include "core/base/log.h"
#include "core/deliver/attempt.h"
#include "core/map/table.h"

namespace millrace::deliver {

// Looks up "4.7.1 text" and takes "5.7.1 other text" from the result.
void filter_status(const map::Maps& filter, Outcome& outcome, const log::Logger& log);

// An agent whose outcomes pass the filter.
std::unique_ptr<Agent> make_filtered_agent(std::unique_ptr<Agent> agent, map::Maps filter, log::Logger log);

}  // namespace millrace::deliver
