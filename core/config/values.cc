// Text to number, time span and truth value, as main.cf writes them.
#include <limits>

#include "core/base/strings.h"
#include "core/config/config.h"

namespace millrace::config {

std::optional<std::chrono::seconds> parse_time(std::string_view text, char default_unit) {
  std::int64_t unit = 1;
  if (!text.empty() && !is_digit(text.back())) {
    default_unit = text.back();
    text.remove_suffix(1);
  }
  switch (default_unit) {
    case 'w': unit = 7 * 24 * 60 * 60; break;
    case 'd': unit = 24 * 60 * 60; break;
    case 'h': unit = 60 * 60; break;
    case 'm': unit = 60; break;
    case 's': break;
    default: return {};
  }
  // Postfix keeps times in an int; what it refuses must not become a deadline of 80 years here.
  const auto number = parse_number<std::int64_t>(text);
  if (!number || *number > std::numeric_limits<std::int32_t>::max() / unit) return {};
  return std::chrono::seconds(*number * unit);
}

std::optional<std::int64_t> parse_integer(std::string_view text) {
  const bool negative = !text.empty() && text[0] == '-';
  if (negative || (!text.empty() && text[0] == '+')) text.remove_prefix(1);
  const auto number = parse_number<std::int64_t>(text);
  if (!number) return {};
  return negative ? -*number : *number;
}

std::optional<bool> parse_bool(std::string_view text) {
  if (iequals(text, "yes")) return true;
  if (iequals(text, "no")) return false;
  return {};
}

}  // namespace millrace::config
