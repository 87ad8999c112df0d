// What each line of a message is: a header of the message, of a MIME part, of a nested message, or body.
//
// Follows the structure as Postfix's MIME processor does for header_checks (header_checks(5), RFC 2045,
// RFC 2046): it takes the message as it is, decodes nothing, and treats what it cannot understand as body.
// Streaming: memory is bounded by Limits whatever comes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace millrace::checks {

enum class HeaderClass { primary, mime, nested };

struct Limits {
  std::size_t nesting = 100;              // mime_nesting_limit
  std::size_t boundary_length = 2048;     // mime_boundary_length_limit: more of a boundary is not compared
  std::size_t header_size = 102400;       // header_size_limit: more of a header is not seen
  std::size_t line_length = 2048;         // line_length_limit: longer body lines are seen in pieces
};

class MimeWalker {
 public:
  class Handler {
   public:
    virtual ~Handler() = default;
    // A header inside the body: "Name: value", folded lines joined with LF.  Offsets count body bytes.
    virtual void part_header(HeaderClass header_class, std::string_view text, std::uint64_t offset,
                             std::uint64_t length) = 0;
    // A body line, or a piece of a long one, without its line end; `first` is true at the start of a part.
    virtual void body_line(std::string_view line, std::uint64_t offset, std::uint64_t length, bool first) = 0;
  };

  // `structure` false: all that follows the headers is body (disable_mime_input_processing).
  MimeWalker(const Limits& limits, bool structure, Handler& handler);

  // Each header of the message in order: the class its checks are of.
  HeaderClass header(std::string_view name, std::string_view value);
  void end_of_headers();
  // The body in any pieces; lines end in LF or CRLF.
  void body(std::string_view bytes);
  void finish();

  bool nested_too_deep() const { return too_deep_; }

 private:
  enum class State { part_headers, nested_headers, body };
  // An open multipart.  Its parts are messages unless they say otherwise when it is a digest (RFC 2046 5.1.5).
  struct Multipart {
    std::string boundary;
    bool digest = false;
  };

  void content_type(std::string_view value);
  void line(std::string_view text, std::uint64_t length, bool whole);
  void header_line(std::string_view text, std::uint64_t length);
  void flush_header();
  void headers_ended();
  bool boundary_line(std::string_view text);
  void enter_body() { state_ = State::body, first_ = true; }

  Limits limits_;
  bool structure_;
  Handler& handler_;
  State state_ = State::body;
  bool is_message_ = false;              // the part whose headers are read holds a message
  std::vector<Multipart> open_;          // outermost first
  std::string pending_;                  // an unfinished line
  std::string header_;                   // the header being collected
  std::uint64_t header_offset_ = 0, header_length_ = 0;
  std::uint64_t offset_ = 0;             // of the next line
  bool in_long_line_ = false;            // pieces of a long line were given already
  bool first_ = true;
  bool too_deep_ = false;
};

}  // namespace millrace::checks
