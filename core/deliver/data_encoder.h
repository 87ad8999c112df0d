// The text of a message as it goes over the wire after DATA (RFC 5321 section 4.5.2).
//
// Promise: whatever bytes come in, in whatever pieces, CR LF "." CR LF appears in the output once, at
// its end, and no CR or LF stands there but in CR LF pairs: no server, however lenient, can see an end
// of data that we did not write.  Canonical text within the line limit decodes to itself.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace millrace::deliver {

class DataEncoder {
 public:
  // Longer lines are folded: CR LF and a space after `line_limit` octets (smtp_line_length_limit);
  // 0: no limit.
  explicit DataEncoder(std::size_t line_limit);

  // Appends the wire form of `text` to `out`.  A stray CR or LF becomes a space, as
  // cleanup_replace_stray_cr_lf has it.
  void encode(std::string_view text, std::string& out);
  // Ends the last line when it is not ended, and writes the final dot.
  void finish(std::string& out);

 private:
  void put(std::string_view text, std::string& out);
  std::size_t line_limit_;
  std::size_t column_ = 0;    // octets of the current output line, a stuffed dot not counted
  bool pending_cr_ = false;
};

}  // namespace millrace::deliver
