// Replies: a code, an enhanced status code and text as values, and their wire form (RFC 5321 section
// 4.2, RFC 2034).
//
// Promise: wire() is always well-formed, whatever the text holds: control bytes become '?', each line has
// at most 512 octets with its CRLF, there is at least one line.
#pragma once

#include <string>
#include <string_view>

namespace millrace::smtp {

struct Reply {
  // What the session does once the reply is written.
  enum class Then {
    read,      // the next command
    close,     // hang up
    data,      // the message until CRLF.CRLF
    chunk,     // nothing is written yet: first the chunk that a BDAT announced
    tls,       // the TLS handshake
    restart,   // begin again as if the client had just connected (XCLIENT); nothing is written
  };

  int code = 0;
  std::string enhanced;    // "5.7.1"; "" = none
  std::string text;        // lines with LF between them
  Then then = Then::read;
  bool counts = true;      // a negative reply counts as an error of the client

  Reply() = default;
  Reply(int reply_code, std::string_view status, std::string_view reply_text, Then what = Then::read)
      : code(reply_code), enhanced(status), text(reply_text), then(what) {}

  bool negative() const { return code >= 400; }
  // 421 and 521 always end the session (RFC 5321 section 3.8, Postfix).
  bool closes() const { return then == Then::close || code == 421 || code == 521; }
  // "554 5.7.1 Relay access denied": the first line as it goes into a log.
  std::string one_line() const;
  // All lines with CRLF.
  std::string wire() const;
};

// Turns 5xx 5.x.x into 4xx 4.x.x (soft_bounce).
void soften(Reply& reply);

// Appends smtpd_reject_footer: "\n" (two characters) separates lines; a leading "\c" makes the first of
// them go on where the reply ends.  `footer` is expanded already.
void append_footer(Reply& reply, std::string_view footer);

}  // namespace millrace::smtp
