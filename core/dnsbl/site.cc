// DNS lists as values: see site.h.
#include "core/dnsbl/site.h"

#include <algorithm>

#include "core/base/strings.h"
#include "core/net/dns.h"

namespace millrace::dnsbl {

namespace {

constexpr std::size_t kMaxDomain = 200;   // leaves room for a reversed address within 253 octets

std::optional<unsigned> octet(std::string_view text) {
  if (text.size() > 3) return {};
  const auto number = parse_number<unsigned>(text);
  if (!number || *number > 255) return {};
  return number;
}

// "7" or "4..9" into `out`.
bool add_range(std::string_view text, std::bitset<256>& out) {
  const std::size_t dots = text.find("..");
  const auto low = octet(text.substr(0, dots));
  const auto high = dots == std::string_view::npos ? low : octet(text.substr(dots + 2));
  if (!low || !high || *low > *high) return false;
  for (unsigned value = *low; value <= *high; ++value) out.set(value);
  return true;
}

bool is_domain(std::string_view name) {
  if (name.empty() || name.size() > kMaxDomain) return false;
  std::size_t label = 0;
  for (const char c : name) {
    if (c == '.' ? label == 0 : !is_alnum(c) && c != '-' && c != '_') return false;
    label = c == '.' ? 0 : label + 1;
    if (label > 63) return false;
  }
  return label > 0;
}

}  // namespace

Result<Filter> Filter::parse(std::string_view text) {
  const auto bad = [&](std::string_view why) {
    return fail(Errc::config, "bad DNS list reply filter \"" + printable(text) + "\": " + std::string(why));
  };
  Filter out;
  std::string_view rest = text;
  for (std::size_t i = 0; i < 4; ++i) {
    if (i > 0) {
      if (!rest.starts_with('.')) return bad("four octets expected");
      rest.remove_prefix(1);
    }
    if (rest.starts_with('[')) {
      const std::size_t close = rest.find(']');
      if (close == std::string_view::npos) return bad("missing \"]\"");
      std::string_view items = rest.substr(1, close - 1);
      for (;;) {
        const std::size_t end = items.find(';');
        if (!add_range(items.substr(0, end), out.octets_[i])) return bad("number or range of 0 to 255 expected");
        if (end == std::string_view::npos) break;
        items.remove_prefix(end + 1);
      }
      rest.remove_prefix(close + 1);
    } else {
      std::size_t end = 0;
      while (end < rest.size() && is_digit(rest[end])) ++end;
      const auto value = octet(rest.substr(0, end));
      if (!value) return bad("number of 0 to 255 or [ ] expected");
      out.octets_[i].set(*value);
      rest.remove_prefix(end);
    }
  }
  if (!rest.empty()) return bad("four octets expected");
  return out;
}

bool Filter::matches(std::string_view ipv4) const {
  const auto address = parse_ipv4(ipv4);
  if (!address) return false;
  for (std::size_t i = 0; i < 4; ++i) {
    if (!octets_[i].test((*address)[i])) return false;
  }
  return true;
}

std::optional<std::array<std::uint8_t, 4>> parse_ipv4(std::string_view text) {
  std::array<std::uint8_t, 4> out{};
  for (std::size_t i = 0; i < 4; ++i) {
    const std::size_t end = std::min(text.find('.'), text.size());
    const auto value = octet(text.substr(0, end));
    if (!value || (i < 3) != (end < text.size())) return {};
    out[i] = static_cast<std::uint8_t>(*value);
    text.remove_prefix(i < 3 ? end + 1 : end);
  }
  return out;
}

Result<Site> parse_site(std::string_view text, Weights weights) {
  Site out;
  const std::size_t star = text.find('*');
  if (star != std::string_view::npos) {
    std::string_view digits = text.substr(star + 1);
    const bool negative = digits.starts_with('-');
    if (negative || digits.starts_with('+')) digits.remove_prefix(1);
    const auto value = parse_number<std::uint16_t>(digits);
    if (weights == Weights::refused || !value) {
      return fail(Errc::config, "bad DNS list weight in \"" + printable(text) + "\"");
    }
    out.weight = negative ? -static_cast<int>(*value) : static_cast<int>(*value);
    text = text.substr(0, star);
  }
  out.text = text;
  const std::size_t equal = text.find('=');
  if (equal != std::string_view::npos) {
    auto filter = Filter::parse(text.substr(equal + 1));
    if (!filter) return tl::unexpected(filter.error());
    out.filter = *filter;
    text = text.substr(0, equal);
  }
  if (text.ends_with('.')) text.remove_suffix(1);
  if (!is_domain(text)) return fail(Errc::config, "bad DNS list domain name \"" + printable(text) + "\"");
  out.domain = text;
  return out;
}

std::string address_query(std::string_view address, std::string_view domain) {
  std::string out = net::reverse_labels(address);
  if (!out.empty()) out.append(".").append(domain);
  return out;
}

std::string name_query(std::string_view name, std::string_view domain) {
  if (const std::size_t at = name.rfind('@'); at != std::string_view::npos) name.remove_prefix(at + 1);
  if (name.ends_with('.')) name.remove_suffix(1);
  const std::size_t dot = name.rfind('.');
  const std::string_view last = dot == std::string_view::npos ? name : name.substr(dot + 1);
  if (name.empty() || name.front() == '[' || std::all_of(last.begin(), last.end(), is_digit)) return "";
  return std::string(name) + "." + std::string(domain);
}

}  // namespace millrace::dnsbl
