// Milter events as bytes: see events.h.
#include "core/milterd/events.h"

#include <algorithm>

#include "core/milter/wire.h"

namespace millrace::milterd {

namespace {
constexpr std::size_t kMostMacros = 1000;
}

std::optional<ConnectEvent> parse_connect(std::string_view data) {
  ConnectEvent out;
  const auto host = milter::take_text(data);
  if (!host || data.empty()) return {};
  out.host = *host;
  out.family = data.front();
  data.remove_prefix(1);
  if (out.family == 'U') return out;   // nothing follows
  if (data.size() < 2 || (out.family != 'L' && out.family != '4' && out.family != '6')) return {};
  out.port = static_cast<std::uint16_t>(static_cast<unsigned char>(data[0]) << 8 | static_cast<unsigned char>(data[1]));
  data.remove_prefix(2);
  const auto address = milter::take_text(data);
  if (!address || !data.empty()) return {};
  out.address = *address;
  if (out.family == '6' && out.address.starts_with("IPv6:")) out.address.remove_prefix(5);
  return out;
}

std::optional<std::vector<std::string_view>> parse_texts(std::string_view data, std::size_t most) {
  std::vector<std::string_view> out;
  while (!data.empty()) {
    const auto text = milter::take_text(data);
    if (!text || out.size() == most) return {};
    out.push_back(*text);
  }
  return out;
}

std::optional<std::map<std::string, std::string, std::less<>>> parse_macros(std::string_view data) {
  const auto texts = parse_texts(data, 2 * kMostMacros);
  if (!texts || texts->size() % 2 != 0) return {};
  std::map<std::string, std::string, std::less<>> out;
  for (std::size_t i = 0; i < texts->size(); i += 2) out[std::string((*texts)[i])] = (*texts)[i + 1];
  return out;
}

std::optional<mime::Header> parse_header(std::string_view data, bool leading_space) {
  const auto name = milter::take_text(data);
  const auto value = name ? milter::take_text(data) : std::nullopt;
  if (!value || !data.empty() || name->empty()) return {};
  const bool sound = std::all_of(name->begin(), name->end(), [](char c) { return c > ' ' && c < '\x7f' && c != ':'; });
  if (!sound) return {};
  std::string text(*name);
  text += leading_space ? ":" : ": ";
  for (std::size_t i = 0; i < value->size(); ++i) {
    const char c = (*value)[i];
    if (c == '\r') continue;   // line ends come as LF, from some as CRLF
    if (c != '\n') {
      text += c;
      continue;
    }
    text += "\r\n";
    std::size_t next = i + 1;
    while (next < value->size() && (*value)[next] == '\r') ++next;
    const bool folded = next < value->size() && ((*value)[next] == ' ' || (*value)[next] == '\t');
    if (!folded) text += '\t';
  }
  return mime::Header(std::move(text), name->size());
}

}  // namespace millrace::milterd
