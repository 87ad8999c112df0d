// A message on its way to a next hop: smtp_header_checks and friends, and 8-bit text turned into
// quoted-printable for a next hop that takes 7 bits only (RFC 6152 section 3, RFC 2045 section 6.7).
//
// Streaming: text in any pieces, text out; a header field and a line are all that is held.  What the message
// does not declare as 8-bit stays as it is, as with Postfix's smtp(8).
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "core/base/result.h"
#include "core/checks/checks.h"

namespace millrace::checks {

struct RewriterOptions {
  const Rules* rules = nullptr;   // without tables nothing is looked up
  bool to_seven_bit = false;
  // For the log: what a rule did ("replace", "warning", …), to what, and its text.  "": a rule that
  // cannot be obeyed; the text is a warning with "%s" for the parameter.
  std::function<void(std::string_view action, bool is_header, std::string_view line, std::string_view text)> note;
};

class Rewriter final : private MimeWalker::Handler {
 public:
  explicit Rewriter(RewriterOptions options);
  // `text` is canonical: headers, the empty line, body.  Appends what is to be sent to `out`.  Errors: of a table,
  // temporary; protocol for a message nested too deeply to be converted.
  Result<void> add(std::string_view text, std::string& out);
  Result<void> finish(std::string& out);

 private:
  void part_header(HeaderClass header_class, std::string_view text, std::uint64_t offset, std::uint64_t length) override;
  void headers_over(HeaderClass header_class, bool by_empty_line) override;
  void body_line(std::string_view line, std::uint64_t offset, std::uint64_t length, bool first, bool ends) override;
  // What a table makes of `line`: nullopt leaves it out.
  std::optional<std::string> judged(const map::Maps& maps, bool is_header, std::string_view line);
  void put_line(std::string_view line) { out_->append(line).append("\r\n"); }
  void put_header(std::string_view text);
  void quote(std::string_view line, bool ends);
  void put_body(std::string_view line, bool ends);
  Result<void> outcome() const;

  RewriterOptions options_;
  MimeWalker walker_;
  std::string* out_ = nullptr;
  std::string quoted_;          // the line of quoted-printable text being made
  std::uint64_t part_bytes_ = 0;
  bool in_line_ = false;        // a piece of a long line was put out without its end
  std::optional<Error> error_;
};

}  // namespace millrace::checks
