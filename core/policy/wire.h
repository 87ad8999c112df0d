// The policy protocol's bytes: requests and answers as name=value lines.  Pure, bounded.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace millrace::policy {

// In the order of the wire.  Lua gets the same table.
using Attributes = std::vector<std::pair<std::string, std::variant<std::string, std::int64_t>>>;

// Lines and the empty line.  A control byte in a value, which a peer may have put there, becomes '?'.
std::string encode(const Attributes& attributes);

inline constexpr std::size_t kMaxReply = 32 * 1024;

enum class DecodeStatus { ok, need_more, malformed, too_large };
struct Decoded {
  DecodeStatus status = DecodeStatus::need_more;
  std::size_t consumed = 0;      // through the empty line, when ok
  std::string_view action;       // views the input
  std::string why;               // of malformed
};
// One answer at the start of `buffer`.  Other attributes are passed over; of two actions the first
// counts, as in Postfix; an answer without one is malformed.
Decoded decode(std::string_view buffer);

}  // namespace millrace::policy
