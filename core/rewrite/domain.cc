#include "core/rewrite/domain.h"

#include "core/base/strings.h"
#include "core/map/network.h"

namespace millrace::rewrite {

namespace {
constexpr std::size_t kMaxLabel = 63, kMaxHostname = 255;
}

bool is_valid_hostname(std::string_view name) {
  if (name.empty() || name.size() > kMaxHostname || !is_valid_utf8(name)) return false;
  bool numeric = true;
  std::size_t label = 0;
  for (std::size_t i = 0; i < name.size(); ++i) {
    const char c = name[i];
    const bool ends = i + 1 == name.size() || name[i + 1] == '.';
    if (c == '.') {
      if (label == 0 || i + 1 == name.size()) return false;
      label = 0;
      continue;
    }
    const bool hyphen = c == '-';
    if (!hyphen && !is_alnum(c) && c != '_' && static_cast<unsigned char>(c) < 128) return false;
    if (hyphen && (label == 0 || ends)) return false;
    if (!is_digit(c)) numeric = false;
    if (++label > kMaxLabel) return false;
  }
  return !numeric;
}

bool is_valid_literal(std::string_view text) {
  if (text.size() < 3 || text.front() != '[' || text.back() != ']') return false;
  std::string_view inner = text.substr(1, text.size() - 2);
  const bool tagged = istarts_with(inner, "IPv6:");
  if (tagged) inner.remove_prefix(5);
  const auto address = map::parse_address(inner);
  return address && address->bits == (tagged ? 128 : 32);
}

bool is_valid_domain(std::string_view domain) {
  return !domain.empty() && domain[0] == '[' ? is_valid_literal(domain) : is_valid_hostname(domain);
}

}  // namespace millrace::rewrite
