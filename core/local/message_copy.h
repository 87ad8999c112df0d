// The message as commands and mailboxes get it: lines in the system's form, with the headers that a final
// delivery puts on top (pipe(8), local(8)).  Pure: pieces of canonical text in, bytes out.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace millrace::local {

struct CopyOptions {
  bool from_line = false;      // "From sender  date"
  bool return_path = false, original_to = false, delivered_to = false;
  bool quote_from = false;     // ">From "
  bool dot = false;            // "." before a line that begins with one
  bool blank_line = false;     // at the end
  std::string eol = "\n";
  std::string sender;          // as written into From_ and Return-Path, quoted
  std::string original, delivered;   // quoted
  std::int64_t when = 0;       // seconds since 1970, of the From_ line
};

class MessageCopy {
 public:
  explicit MessageCopy(CopyOptions options) : options_(std::move(options)) {}
  void begin(std::string& out) const;
  void feed(std::string_view canonical, std::string& out);   // any split
  void finish(std::string& out);

 private:
  void start_line(std::string& out);
  const CopyOptions options_;
  bool at_line_start_ = true, saw_cr_ = false;
  std::string held_;   // the first bytes of a line, while it may still be "From "
};

// Is `address` (internal form) named by a Delivered-To field of this header section?  Without regard to case.
bool has_delivered_to(std::string_view header_section, std::string_view address);

}  // namespace millrace::local
