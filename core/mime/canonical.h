// Makes body bytes of any origin canonical: every line ends in CRLF, no other CR or LF, no NUL.  For what
// filters put in place of a body, which must not be able to end DATA early at the next hop.
#pragma once

#include <string>
#include <string_view>

namespace millrace::mime {

// Feed pieces of any size; any split gives the same result.  A lone CR or LF is a line end; NUL is dropped.
class Canonicalizer {
 public:
  // Appends the canonical form of `bytes` to `out`.
  void add(std::string_view bytes, std::string& out);
  // The end: closes a last line that has no line end.
  void finish(std::string& out);

 private:
  bool after_cr_ = false, in_line_ = false;
};

}  // namespace millrace::mime
