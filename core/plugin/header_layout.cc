// Keeping count of moving fields: see header_layout.h.
#include "core/plugin/header_layout.h"

#include "core/base/strings.h"

namespace millrace::plugin {

HeaderLayout::HeaderLayout(const std::vector<mime::Header>& headers) {
  for (const mime::Header& header : headers) {
    Field field{lower(header.name()), header.own_received, -1};
    if (!header.own_received) {
      field.visible = static_cast<std::int64_t>(names_.size());
      names_.push_back(field.name);
    }
    fields_.push_back(std::move(field));
  }
}

void HeaderLayout::add(std::string_view name) { fields_.push_back({lower(name), false, -1}); }
void HeaderLayout::prepend(std::string_view name) { fields_.insert(fields_.begin(), {lower(name), false, -1}); }

std::size_t HeaderLayout::insert(std::uint64_t visible, std::string_view name) {
  std::size_t at = fields_.size();
  // A field that was deleted meanwhile: above the next one that is left.
  for (std::size_t i = 0; i < fields_.size() && visible < names_.size(); ++i) {
    if (fields_[i].visible >= static_cast<std::int64_t>(visible)) {
      at = i;
      break;
    }
  }
  fields_.insert(fields_.begin() + static_cast<std::ptrdiff_t>(at), {lower(name), false, -1});
  return at;
}

std::optional<std::size_t> HeaderLayout::find(std::string_view name, std::uint64_t nth) const {
  for (std::size_t i = 0; nth > 0 && i < names_.size(); ++i) {
    if (!iequals(names_[i], name) || --nth > 0) continue;
    for (std::size_t at = 0; at < fields_.size(); ++at) {
      if (fields_[at].visible == static_cast<std::int64_t>(i)) return at;
    }
    break;
  }
  return {};
}

std::optional<std::size_t> HeaderLayout::locate(std::string_view name, std::uint64_t nth) const {
  const auto at = find(name, nth);
  if (!at) return {};
  std::size_t count = 0;
  for (std::size_t i = 0; i <= *at; ++i) {
    if (!fields_[i].own && fields_[i].name == fields_[*at].name) ++count;
  }
  return count;
}

void HeaderLayout::erase(std::string_view name, std::uint64_t nth) {
  if (const auto at = find(name, nth)) fields_.erase(fields_.begin() + static_cast<std::ptrdiff_t>(*at));
}

}  // namespace millrace::plugin
