// access(5) results as values.  Pure.
#pragma once

#include <string>
#include <string_view>

namespace millrace::restrict {

enum class AccessKind {
  ok,               // OK, RELAY, PERMIT is a restriction word; also all digits
  dunno,
  reject,           // REJECT [dsn] [text]
  defer,            // DEFER [dsn] [text]
  code,             // 4NN/5NN [dsn] [text]
  defer_if_permit,
  defer_if_reject,
  discard, hold, redirect, bcc, prepend, filter, info, warn, hangup,
  restrictions,     // anything else: restriction words
  empty,            // nothing at all: OK with a warning, as in Postfix
};

struct AccessResult {
  AccessKind kind = AccessKind::dunno;
  int code = 0;            // of AccessKind::code
  std::string_view dsn;    // "5.7.1" when given in front of the text
  std::string_view text;   // the rest
};

AccessResult parse_access_result(std::string_view value);

// Cuts a leading enhanced status code (RFC 3463: 2, 4 or 5, then two numbers of up to three digits) off
// `text`; "" when there is none.
std::string_view take_dsn(std::string_view& text);

}  // namespace millrace::restrict
