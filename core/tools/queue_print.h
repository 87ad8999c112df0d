// What the queue tools print, in Postfix 3.7's shapes: pure functions from values to text.
#pragma once

#include <string>
#include <string_view>

#include "core/queue/admin.h"
#include "core/queue/store.h"

namespace millrace::tools {

// One message of postqueue -p, with the empty line after it; `long_ids` is the wider layout.
std::string mailq_heading(bool long_ids);
std::string mailq_entry(const queue::Listing& listing, bool long_ids);
std::string mailq_summary(std::uint64_t bytes, std::size_t messages);

// One line of postqueue -j, with its LF.
std::string json_entry(const queue::Listing& listing);
std::string json_quote(std::string_view text);

// "a b@c" as it stands in a header: "a b"@c.
std::string quoted_address(std::string_view address);

// The envelope records of postcat, markers included.
std::string cat_envelope(const queue::Entry& entry);
std::string cat_contents_marker(const queue::Entry& entry);
std::string cat_end(const queue::Entry& entry);

// Content of a message, piece by piece: CRLF becomes LF, header or body is left out when not wanted.
class CatContent {
 public:
  CatContent(bool headers, bool body) : headers_(headers), body_(body) {}
  // Appends what is to be printed of `piece` to `out`.
  void add(std::string_view piece, std::string& out);
  void finish(std::string& out);

 private:
  void line(std::string_view text, std::string& out);
  bool headers_, body_;
  bool in_headers_ = true;
  bool long_line_ = false;   // the beginning of the line was given out already
  std::string rest_;
};

}  // namespace millrace::tools
