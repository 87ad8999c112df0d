#include "core/deliver/ehlo.h"

#include <algorithm>

#include "core/base/strings.h"

namespace millrace::deliver {

Features parse_ehlo(const Reply& reply, std::string_view own_name, const std::vector<std::string>& discard) {
  Features out;
  out.esmtp = true;
  bool first = true;
  for (std::string_view line : split(reply.text, "\n")) {
    line.remove_prefix(std::min<std::size_t>(line.size(), 4));
    const std::string keyword = lower(take_word(line, " \t="));
    if (first) {
      first = false;
      out.own_name = iequals(keyword, own_name);
      continue;
    }
    if (std::find(discard.begin(), discard.end(), keyword) != discard.end()) continue;
    if (keyword == "pipelining") out.pipelining = true;
    if (keyword == "8bitmime") out.eight_bit = true;
    if (keyword == "dsn") out.dsn = true;
    if (keyword == "smtputf8") out.smtputf8 = true;
    if (keyword == "starttls") out.starttls = true;
    if (keyword == "xforward") {
      for (const std::string_view attribute : split(line, " \t")) out.xforward.push_back(upper(attribute));
    }
    if (keyword == "size") {
      out.size = true;
      out.size_limit = parse_number<std::uint64_t>(take_word(line)).value_or(0);
    }
  }
  return out;
}

}  // namespace millrace::deliver
