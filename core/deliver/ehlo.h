// What a server's EHLO or LHLO reply offers (RFC 5321 section 4.1.1.1).  Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/deliver/reply.h"

namespace millrace::deliver {

struct Features {
  bool esmtp = false;          // EHLO was accepted
  bool pipelining = false;     // RFC 2920
  bool eight_bit = false;      // 8BITMIME, RFC 6152
  bool dsn = false;            // RFC 3461
  bool smtputf8 = false;       // RFC 6531
  bool starttls = false;       // RFC 3207
  bool size = false;           // RFC 1870
  std::uint64_t size_limit = 0;  // 0: none, or not told
  // XFORWARD attributes that the server takes, upper case.
  std::vector<std::string> xforward;
  bool own_name = false;       // the server calls itself as we do: mail would loop
};

// `discard`: keywords to be passed over (smtp_discard_ehlo_keywords), lower case.
Features parse_ehlo(const Reply& reply, std::string_view own_name, const std::vector<std::string>& discard);

}  // namespace millrace::deliver
