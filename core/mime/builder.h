// MessageBuilder: canonical text in, in pieces of any size, a Message out.
//
// Promise: any split of the input gives the same message; memory is bounded by the limits whatever
// comes in (the body spills).  Follows Postfix's cleanup(8): "name :" is taken as "name:"; a line that
// is no header field ends the section and begins the body; a header field over header_size_limit loses
// its rest.  It does not judge or edit; see cleanup.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/base/result.h"
#include "core/mime/message.h"

namespace millrace::mime {

struct BuilderLimits {
  std::size_t line_length = 2048;                    // line_length_limit: longer lines count as pieces
  std::size_t header_size = 102400;                  // header_size_limit
  std::size_t header_section = 2 * 1024 * 1024;      // all of it: Errc::too_large beyond
};

// Length of the field name when `line` begins a header field (RFC 5322 section 2.2: printable ASCII
// but colon, white space before the colon is let pass), else 0.
std::size_t header_name_length(std::string_view line);

class MessageBuilder {
 public:
  MessageBuilder(const BuilderLimits& limits, Body body);

  // `text` is canonical: lines end in CRLF and hold no other CR or LF.  After an error nothing more is
  // taken and the same error is returned.  Errors: too_large, no_space, io.
  Result<void> add(std::string_view text);
  // Ends the message; a last line without CRLF gets one.
  Result<void> finish();
  // Octets seen so far.
  std::uint64_t size() const { return size_; }
  // Is the header section complete?  Then what is seen of the message so far.
  bool in_body() const { return in_body_; }
  const Message& message() const { return message_; }
  Message take() { return std::move(message_); }

 private:
  void record(bool line_end);      // takes record_ as one piece of a line of the header section
  void end_field();
  Result<void> body(std::string_view text);
  Result<void> fault(Error error);

  BuilderLimits limits_;
  Message message_;
  std::string record_;             // the piece being collected
  std::string field_;              // the header field being collected
  std::size_t name_length_ = 0, folds_ = 0;   // of field_
  std::size_t section_ = 0;        // octets kept of the header section
  std::uint64_t size_ = 0;
  bool in_body_ = false, first_ = true, continued_ = false, ends_in_lf_ = true;
  std::string pending_;            // body text found while still parsing headers
  bool failed_ = false;
  Error error_;
};

}  // namespace millrace::mime
