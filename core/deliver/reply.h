// Replies of an SMTP or LMTP server (RFC 5321 section 4.2): bytes in, one Reply out.
//
// Promise: any split of the input gives the same replies; memory is bounded whatever comes in.  A line
// that is no reply line makes the reply invalid (a client that skipped it would be out of step when
// commands are pipelined).  It does not judge codes.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace millrace::deliver {

struct Reply {
  int code = 0;          // 200..599
  std::string text;      // all lines with their codes, LF between them, control bytes made '?'
  std::string dsn;       // "5.1.1"; "X.0.0" of the code's class when the reply has no enhanced code
  bool has_dsn = false;

  bool positive() const { return code / 100 == 2; }
  // The first line without code and separator.
  std::string_view first_line() const;
  // In one line, as logs and bounces show it.
  std::string flat() const;
};

// The enhanced status code (RFC 3463) that `text` begins with, "" when it begins with none.
std::string_view leading_dsn(std::string_view text);

class ReplyParser {
 public:
  static constexpr std::size_t kMaxLine = 2048;       // longer lines lose their rest
  static constexpr std::size_t kMaxText = 16 * 1024;  // kept of one reply
  static constexpr std::size_t kMaxBytes = 1 << 20;   // read of one reply, else invalid

  enum class Status { need_more, complete, invalid };
  // Takes bytes until a reply is complete; `consumed` says how many.  After `complete` take() gives the
  // reply and the parser is as new; `invalid` is for good, text() of the offending line is in bad_line().
  Status feed(std::string_view input, std::size_t& consumed);
  Reply take();
  const std::string& bad_line() const { return line_; }

 private:
  Status end_line();
  Reply reply_;
  std::string line_;
  std::size_t bytes_ = 0;
  bool invalid_ = false;
};

}  // namespace millrace::deliver
