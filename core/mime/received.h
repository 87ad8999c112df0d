// The Received header, exactly as Postfix 3.7's smtpd writes it (RFC 5321 section 4.4).
#pragma once

#include <string>

#include "core/base/clock.h"
#include "core/mime/message.h"

namespace millrace::mime {

struct ReceivedFacts {
  std::string helo, client_name, client_address;   // address "IPv6:…" where it is one
  std::string protocol;                            // "ESMTPS", "UTF8SMTP", …
  std::string tls;                                 // lines in parentheses, LF between them; "" = none
  std::string authenticated_sender;
  std::string host, mail_name, queue_id;
  std::string recipient;                           // quoted form; "" leaves "for <…>" out
  WallMicros when = 0;
};

Header make_received(const ReceivedFacts& facts);

}  // namespace millrace::mime
