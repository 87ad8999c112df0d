// The parts of a message for "mr.mime/1": where each is, what it says it is, and its bytes decoded.
//
// Pure over the message; bounded: kMaxParts parts, kMaxPartHeaders octets of headers each.  Structure is what
// checks::MimeWalker makes of it, so that a filter and header_checks see the same parts.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/mime/message.h"

namespace millrace::plugin {

struct MimePart {
  std::uint32_t depth = 0;                 // 0: the message itself
  std::string type = "text/plain";         // lower case
  std::string encoding = "7bit";           // lower case
  std::string disposition, filename, charset;
  std::uint64_t offset = 0, size = 0;      // of its body, in the message's
  std::vector<std::pair<std::string, std::string>> headers;   // names and values, folds as LF
};

// "text/plain; charset=utf-8; name*0=a; name*1=b": the word in lower case, and its parameters, names in lower case
// (RFC 2045 section 5.1; continuations and character sets of RFC 2231: %XX decoded, the set's name dropped).
struct Parameterized {
  std::string word;
  std::vector<std::pair<std::string, std::string>> parameters;
  std::string get(std::string_view name) const;   // the first; "" when there is none
};
Parameterized parse_parameterized(std::string_view value);

// base64 and quoted-printable, in any pieces; what is neither is let through.  Octets that are no part of the
// encoding are left out, as mail programs do (RFC 2045 section 6.8).
class PartDecoder {
 public:
  enum class Kind { identity, base64, quoted_printable };
  explicit PartDecoder(std::string_view encoding);
  void add(std::string_view bytes, std::string& out);
  void finish(std::string& out);

 private:
  void line(std::string_view text, bool whole, std::string& out);
  Kind kind_;
  std::uint32_t bits_ = 0;
  int have_ = 0;
  bool over_ = false;          // base64: "=" was seen
  std::string pending_;        // quoted-printable: a line not yet whole
};

class MimeView {
 public:
  static constexpr std::size_t kMaxParts = 1000, kMaxPartHeaders = 64 * 1024;
  explicit MimeView(const mime::Message& message);
  const std::vector<MimePart>& parts() const { return parts_; }
  // Of the part's decoded body, from `offset` on; 0 octets at the end.  Forward reading is cheap.  Error: io.
  Result<std::size_t> read(std::size_t part, std::uint64_t offset, std::span<char> into);

 private:
  const mime::Message& message_;
  std::vector<MimePart> parts_;
  // Where decoding stands.
  std::optional<std::size_t> current_;
  std::optional<PartDecoder> decoder_;
  std::uint64_t raw_ = 0, decoded_ = 0;   // octets taken in, and octets before `ready_`
  std::string ready_;
};

}  // namespace millrace::plugin
