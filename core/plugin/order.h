// The order of a chain: main.cf's, and what its plugins ask for (mr_descriptor, `before` and `after`).
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "core/filter/chain.h"

namespace millrace::plugin {

// A filter and whom it must be asked before and after.
struct Wishes {
  std::string name;   // "plugin:dkim", "milter:inet:…"
  std::vector<std::string> before, after;
};

// The places of `filters` in the order that keeps all wishes and is otherwise the given one.  Error config: they
// contradict each other, naming two.
Result<std::vector<std::size_t>> resolve_order(const std::vector<Wishes>& filters);
Wishes wishes_of(const filter::Filter& filter);

// Does "dkim", "spf/ID" or "milter:" (any milter) mean the filter called "plugin:dkim", "plugin:spf/ID", "milter:inet:…"?
bool is_meant(std::string_view wish, std::string_view filter_name);

}  // namespace millrace::plugin
