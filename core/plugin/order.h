// The order of a chain against what its plugins ask for (mr_descriptor, `before` and `after`).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/filter/chain.h"

namespace millrace::plugin {

// The first wish that the order of `filters` breaks, in words; "" when there is none.
std::string order_problem(const std::vector<std::shared_ptr<filter::Filter>>& filters);

// Does "dkim", "spf/ID" or "milter:" (any milter) mean the filter called "plugin:dkim", "plugin:spf/ID", "milter:inet:…"?
bool is_meant(std::string_view wish, std::string_view filter_name);

}  // namespace millrace::plugin
