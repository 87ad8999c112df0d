// What each line of a message is: a header of the message, of a MIME part, of a nested message, or body.
//
// Follows the structure as Postfix's MIME processor does for header_checks (header_checks(5), RFC 2045,
// RFC 2046): it takes the message as it is, decodes nothing, treats what it cannot understand as body, and
// says what is wrong with it.  Streaming: memory is bounded by Limits whatever comes.
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

// What can be wrong with a message, in the order of importance; as a bit set too.
enum MimeFault : unsigned {
  kNestingFault = 1,          // more multiparts in each other than mime_nesting_limit
  kEightBitHeaderFault = 2,   // strict_7bit_headers
  kEightBitBodyFault = 4,     // strict_8bitmime_body: 8-bit text in a part that is declared 7bit
  kEncodingDomainFault = 8,   // strict_mime_encoding_domain: a multipart or message that is base64 (RFC 2045 section 6.4)
};
std::string_view mime_fault_text(MimeFault fault);

// The part the walker is in, as its headers so far have it.
struct Part {
  enum class Type { text, message, multipart, other } type = Type::text;
  enum class Message { none, whole, global, fragment, other } message = Message::none;   // kind of a message/…
  enum class Domain { seven_bit, eight_bit, binary } domain = Domain::seven_bit;   // of the decoded bytes
  bool identity = true;    // 7bit, 8bit, binary: the bytes are what they are
  std::string_view encoding = "7bit";
};

class MimeWalker {
 public:
  class Handler {
   public:
    virtual ~Handler() = default;
    // A header field found in the walked text: "Name: value", folded lines joined with LF.  Offsets count walked bytes.
    virtual void part_header(HeaderClass header_class, std::string_view text, std::uint64_t offset,
                             std::uint64_t length) = 0;
    // A section of headers is over; by its empty line, or without one.
    virtual void headers_over(HeaderClass, bool /*by_empty_line*/) {}
    // A body line, or a piece of a long one, without its line end; `first` is true at the start of a part,
    // `ends` for a whole line or the last piece.
    virtual void body_line(std::string_view line, std::uint64_t offset, std::uint64_t length, bool first, bool ends) = 0;
    // A line that ends a part of the multipart at this level (0: the outermost); its body_line() comes after.
    virtual void boundary(std::size_t /*level*/, bool /*last*/, std::uint64_t /*offset*/) {}
    // Each kind of fault that is looked for, once; `text` is where it was found.
    virtual void fault(MimeFault, std::string_view /*text*/) {}
  };

  // Where the walked text begins.
  enum class Start { body, headers };
  // `structure` false: all that follows the headers is body (disable_mime_input_processing).
  MimeWalker(const Limits& limits, bool structure, Handler& handler, Start start = Start::body, unsigned faults = kNestingFault);

  // With Start::body: each header of the message in order; the class its checks are of.  `text` is the whole field.
  HeaderClass header(std::string_view text, std::string_view name, std::string_view value);
  void end_of_headers();
  // The text in any pieces; lines end in LF or CRLF.
  void body(std::string_view bytes);
  void finish();

  const Part& part() const { return part_; }
  std::uint64_t offset() const { return offset_; }   // of the line at hand
  unsigned faults() const { return found_; }

 private:
  enum class State { primary_headers, part_headers, nested_headers, body };
  // An open multipart.  Its parts are messages unless they say otherwise when it is a digest (RFC 2046 5.1.5).
  struct Multipart {
    std::string boundary;
    bool digest = false;
  };

  void content_type(std::string_view value, std::string_view text);
  void content_encoding(std::string_view value);
  void structural(std::string_view name, std::string_view value, std::string_view text);
  void line(std::string_view text, std::uint64_t length, bool whole);
  void header_line(std::string_view text, std::uint64_t length);
  void flush_header();
  void headers_ended(bool by_empty_line);
  bool boundary_line(std::string_view text);
  void judge_body(std::string_view text);
  void enter(State state, Part part) { state_ = state, part_ = part, first_ = true; }
  HeaderClass section_class() const;
  bool looks_for(MimeFault fault) const { return (wanted_ & ~found_ & fault) != 0; }
  void report(MimeFault fault, std::string_view text);

  Limits limits_;
  bool structure_;
  Handler& handler_;
  State state_;
  unsigned wanted_, found_ = 0;
  Part part_;
  std::vector<Multipart> open_;          // outermost first
  std::string pending_;                  // an unfinished line
  std::string header_;                   // the header being collected
  std::uint64_t header_offset_ = 0, header_length_ = 0;
  std::uint64_t offset_ = 0;             // of the next line
  bool in_long_line_ = false;            // pieces of a long line were given already
  bool first_ = true;
};

}  // namespace millrace::checks
