// The text of a delivery status notification: multipart/report in Postfix's form (RFC 3464, RFC 6522;
// bounce(8)).  Pure: facts in, a message out.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/base/clock.h"

namespace millrace::deliver {

struct NoticeRecipient {
  std::string address;      // internal form
  std::string original;     // "rfc822;addr", decoded
  std::string action;       // failed delayed delivered relayed
  std::string dsn, reason, remote_mta, diagnostic;
};

struct Notice {
  enum class Kind { failure, delay, success } kind = Kind::failure;
  bool to_postmaster = false;       // a copy: no explanation, headers only
  std::string host, mail_name;
  std::string queue_id;             // of this notice
  bool long_queue_ids = false;
  std::string to;                   // internal form
  WallMicros now = 0;

  std::string about_id, about_sender, about_envid;   // the message it is about; envid decoded
  WallMicros about_arrival = 0;
  bool smtputf8 = false;
  long delay_hours = 0, lifetime_days = 0;
  std::vector<NoticeRecipient> recipients;
  std::string_view original;        // what is returned: the whole text, or its header section
  bool headers_only = false;
};

// Headers, empty line, body; CRLF lines.
std::string build_notice(const Notice& notice);
// The Message-Id it gets: "<20261121115052.QID@host>", with long queue ids "<QID@host>".
std::string notice_message_id(const Notice& notice);

// Words of `text` in lines of at most `width`, those after the first indented by `indent`.
std::string wrap(std::string_view text, std::size_t width, std::size_t indent);

}  // namespace millrace::deliver
