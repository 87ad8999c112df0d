// The policy protocol's bytes: see wire.h.
#include "core/policy/wire.h"

#include "core/base/strings.h"

namespace millrace::policy {

std::string encode(const Attributes& attributes) {
  std::string out;
  out.reserve(700);
  for (const auto& [name, value] : attributes) {
    out.append(name).push_back('=');
    if (const auto* text = std::get_if<std::string>(&value)) {
      for (const char c : *text) out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
    } else {
      out += std::to_string(std::get<std::int64_t>(value));
    }
    out += '\n';
  }
  out += '\n';
  return out;
}

Decoded decode(std::string_view buffer) {
  const auto malformed = [](std::string why) {
    Decoded out;
    out.status = DecodeStatus::malformed;
    out.why = std::move(why);
    return out;
  };
  Decoded out;
  bool found = false;
  for (std::size_t start = 0;;) {
    const std::size_t end = buffer.find('\n', start);
    if (end == std::string_view::npos || end >= kMaxReply) {
      if (buffer.size() > kMaxReply) out.status = DecodeStatus::too_large;
      return out;
    }
    const std::string_view line = buffer.substr(start, end - start);
    start = end + 1;
    if (line.empty()) {
      if (!found) return malformed("no action in the answer");
      out.status = DecodeStatus::ok;
      out.consumed = start;
      return out;
    }
    const std::size_t equal = line.find('=');
    if (equal == std::string_view::npos || line.find('\0') != std::string_view::npos) {
      return malformed("not name=value: \"" + printable(line.substr(0, 60)) + "\"");
    }
    if (!found && line.substr(0, equal) == "action") {
      out.action = trim(line.substr(equal + 1));
      found = true;
    }
  }
}

}  // namespace millrace::policy
