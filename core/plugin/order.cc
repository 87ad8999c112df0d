// Order of filters: see order.h.
#include "core/plugin/order.h"

#include "core/plugin/filter.h"

namespace millrace::plugin {

bool is_meant(std::string_view wish, std::string_view name) {
  if (wish.ends_with(':')) return name.starts_with(wish);
  constexpr std::string_view kPrefix = "plugin:";
  if (!name.starts_with(kPrefix)) return wish == name;
  name.remove_prefix(kPrefix.size());
  return wish == name || (wish.find('/') == wish.npos && wish == name.substr(0, name.find('/')));
}

std::string order_problem(const std::vector<std::shared_ptr<filter::Filter>>& filters) {
  for (std::size_t i = 0; i < filters.size(); ++i) {
    const mr_descriptor* const descriptor = descriptor_of(*filters[i]);
    if (descriptor == nullptr || !MR_HAS(mr_descriptor, descriptor, after)) continue;
    for (std::size_t k = 0; k < filters.size(); ++k) {
      const char* const* const wishes = k < i ? descriptor->before : k > i ? descriptor->after : nullptr;
      for (const char* const* wish = wishes; wish != nullptr && *wish != nullptr; ++wish) {
        if (is_meant(*wish, filters[k]->name())) {
          return filters[i]->name() + " must stand " + (k < i ? "before " : "after ") + filters[k]->name();
        }
      }
    }
  }
  return {};
}

}  // namespace millrace::plugin
