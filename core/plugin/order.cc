// Order of filters: see order.h.
#include "core/plugin/order.h"

#include <algorithm>

#include "core/plugin/filter.h"

namespace millrace::plugin {

bool is_meant(std::string_view wish, std::string_view name) {
  if (wish.ends_with(':')) return name.starts_with(wish);
  constexpr std::string_view kPrefix = "plugin:";
  if (!name.starts_with(kPrefix)) return wish == name;
  name.remove_prefix(kPrefix.size());
  return wish == name || (wish.find('/') == wish.npos && wish == name.substr(0, name.find('/')));
}

Wishes wishes_of(const filter::Filter& filter) {
  Wishes out{filter.name(), {}, {}};
  const mr_descriptor* const descriptor = descriptor_of(filter);
  if (descriptor == nullptr || !MR_HAS(mr_descriptor, descriptor, after)) return out;
  for (const char* const* one = descriptor->before; one != nullptr && *one != nullptr; ++one) out.before.emplace_back(*one);
  for (const char* const* one = descriptor->after; one != nullptr && *one != nullptr; ++one) out.after.emplace_back(*one);
  return out;
}

Result<std::vector<std::size_t>> resolve_order(const std::vector<Wishes>& filters) {
  const auto says = [](const std::vector<std::string>& wishes, const std::string& name) {
    return std::any_of(wishes.begin(), wishes.end(), [&](const std::string& wish) { return is_meant(wish, name); });
  };
  const auto precedes = [&](std::size_t a, std::size_t b) {
    return a != b && (says(filters[a].before, filters[b].name) || says(filters[b].after, filters[a].name));
  };
  std::vector<std::size_t> left(filters.size()), out;
  for (std::size_t i = 0; i < left.size(); ++i) left[i] = i;
  while (!left.empty()) {
    // The first one that nobody who is left must precede.
    const auto next = std::find_if(left.begin(), left.end(), [&](std::size_t one) {
      return std::none_of(left.begin(), left.end(), [&](std::size_t other) { return precedes(other, one); });
    });
    if (next == left.end()) {
      const auto first = std::find_if(left.begin(), left.end(), [&](std::size_t other) { return precedes(other, left[0]); });
      return fail(Errc::config, filters[*first].name + " must stand before " + filters[left[0]].name + ", and, by what others ask for, behind it");
    }
    out.push_back(*next);
    left.erase(next);
  }
  return out;
}

}  // namespace millrace::plugin
