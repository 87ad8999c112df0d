// The text of a delivery status notification: multipart/report in Postfix's form (RFC 3464, RFC 6522, RFC 6533;
// bounce(8)).  Pure: facts in, a message out.  What it says to a human is in templates.h.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/base/clock.h"
#include "core/deliver/templates.h"

namespace millrace::deliver {

struct NoticeRecipient {
  std::string address;      // internal form
  std::string expanded_from;  // the address given, where it is another; internal form
  std::string original;     // "rfc822;addr", decoded
  std::string action;       // failed delayed delivered relayed expanded deliverable undeliverable
  std::string dsn, reason, remote_mta, diagnostic;
  WallMicros retry_until = 0;   // 0: not told
};

struct Notice {
  enum class Kind { failure, delay, success, verify } kind = Kind::failure;
  bool to_postmaster = false;       // a copy: no explanation
  const Template* form = nullptr;
  std::string host, mail_name;
  std::string queue_id;             // of this notice
  bool long_queue_ids = false;
  std::string to;                   // internal form
  WallMicros now = 0;

  std::string about_id, about_sender, about_envid;   // the message it is about; envid decoded
  WallMicros about_arrival = 0;
  std::string thread_id;            // its Message-ID, when the notice is to refer to it
  bool smtputf8 = false;            // it was sent with SMTPUTF8
  bool utf8_texts = true;           // smtputf8_enable: all texts of ours count as UTF-8
  std::vector<NoticeRecipient> recipients;
  std::string_view original;        // what is returned: the whole text, or its header section
  bool headers_only = false;
};

// Headers, empty line, body; CRLF lines.  Addresses in From are as the template has them: to be completed.
std::string build_notice(const Notice& notice);
// Does the notice have bytes above 127, or must it be taken to have some?
bool is_eight_bit(const Notice& notice);
// The Message-Id it gets: "<20261121115052.QID@host>", with long queue ids "<QID@host>".
std::string notice_message_id(const Notice& notice);
// The value of the (first) Message-ID field of a header section, "" when it has none.
std::string message_id_of(std::string_view header_section);

// Words of `text` in lines of at most `width`, those after the first indented by `indent`.
std::string wrap(std::string_view text, std::size_t width, std::size_t indent);

}  // namespace millrace::deliver
