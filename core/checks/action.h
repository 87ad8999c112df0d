// What the right-hand side of a header_checks(5) rule says, as a value.
#pragma once

#include <string>
#include <string_view>

namespace millrace::checks {

struct Decision {
  enum class Kind {
    dunno,      // DUNNO, OK: the next line
    reject, warn, info, ignore, strip, replace, prepend, hold, discard, filter, redirect, bcc,
    pass,       // no more inspection of this message
    bad,        // not an action, or one without what it needs: `text` says why, for a warning, with "%s" for
                // the parameter the table stands in; act as dunno
  };
  Kind kind = Kind::dunno;
  std::string text;       // the optional text, or what the action needs
  int code = 0;           // reject: 550, or 451 for a 4.x.x status
  std::string enhanced;   // reject: "5.7.1"

  // Of a bad one: the warning.  `parameter` is "header_checks".
  std::string complaint(std::string_view parameter) const;
};

// Is "Name: value" a header field?
bool is_header_text(std::string_view text);

// "REJECT 5.7.9 not this", "replace X-New: y".  Pure; any bytes.
Decision parse_action(std::string_view value);
// The same for a header, where REPLACE and PREPEND need a header field as their text.
Decision parse_header_action(std::string_view value);

// Cuts an enhanced status code ("5.7.1") off the front of `text`; "" when there is none (RFC 3463 section 2).
std::string take_enhanced_code(std::string_view& text);

}  // namespace millrace::checks
