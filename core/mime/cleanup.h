// What Postfix's cleanup(8) does to the header section and the characters of a message, whoever sent
// it.  Address rewriting and content checks are elsewhere (core/rewrite, core/checks).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/base/clock.h"
#include "core/mime/message.h"

namespace millrace::mime {

struct HeaderPolicy {
  std::vector<std::string> drop;        // message_drop_headers
  bool add_missing = false;             // always_add_missing_headers, or a client whose headers are ours to rewrite
  bool long_queue_ids = false;          // form of a generated Message-Id
  std::string host;                     // myhostname
  std::string undisclosed_recipients;   // undisclosed_recipients_header; "" adds none
};

// Names of header fields in a list parameter, commas and blanks between them.
std::vector<std::string> parse_header_names(std::string_view text);

// Drops and adds header fields.  Lines for the log ("message-id=<x>", program cleanup, after the queue
// id) are appended to `log`.  `sender_quoted` is the sender in external form; "" becomes MAILER-DAEMON.
void apply_header_policy(Message& message, const HeaderPolicy& policy, std::string_view queue_id,
                         std::string_view sender_quoted, WallMicros arrival, std::vector<std::string>& log);

// How many Received fields there are, our own included (hopcount_limit).
std::size_t count_hops(const Message& message);

// A set of octets given as C-like escapes: "\0\177" (message_reject_characters).
class CharacterSet {
 public:
  CharacterSet() = default;
  explicit CharacterSet(std::string_view escaped);
  bool empty() const { return characters_.empty(); }
  bool in(std::string_view text) const { return !empty() && text.find_first_of(characters_) != text.npos; }
  CharacterSet without(std::string_view others) const;
  // Removes them from `text` in place.
  void strip(std::string& text) const;

 private:
  std::string characters_;
};

}  // namespace millrace::mime
