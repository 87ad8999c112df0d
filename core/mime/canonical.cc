// Line ends of replacement bodies: see canonical.h.
#include "core/mime/canonical.h"

#include <algorithm>

namespace millrace::mime {

void Canonicalizer::add(std::string_view bytes, std::string& out) {
  while (!bytes.empty()) {
    const char c = bytes.front();
    if (c == '\n' && after_cr_) {
      after_cr_ = false;   // the line was ended by the CR
      bytes.remove_prefix(1);
      continue;
    }
    after_cr_ = c == '\r';
    if (c == '\r' || c == '\n') {
      out += "\r\n";
      in_line_ = false;
      bytes.remove_prefix(1);
    } else if (c == '\0') {
      bytes.remove_prefix(1);
    } else {
      const std::size_t end = std::min(bytes.find_first_of(std::string_view("\r\n\0", 3)), bytes.size());
      out.append(bytes.substr(0, end));
      bytes.remove_prefix(end);
      in_line_ = true;
    }
  }
}

void Canonicalizer::finish(std::string& out) {
  if (in_line_) out += "\r\n";
  in_line_ = after_cr_ = false;
}

}  // namespace millrace::mime
