// The content of DATA and BDAT: wire bytes in, canonical text out (core/mime/message.h).
//
// DATA: dots are un-stuffed and the end is found (RFC 5321 section 4.5.2).  BDAT: the bytes of the chunks
// as lines.  Any split of the input gives the same output; the state is a few bytes.
//
// Line ends follow smtpd_forbid_bare_newline: with `lenient` ("no") LF, CRLF and CRCRLF all end a line and
// ".<LF>" ends the message; with `strict` (normalize, note, reject) LF still ends a line but only
// <CR><LF>.<CR><LF> ends the message, and a lone dot with a bare LF before or after it is dropped: what is
// no end here must not become one at the next hop (SMTP smuggling).
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace millrace::smtp {

class DataDecoder {
 public:
  enum class Form { data, chunks };
  enum class LineEnds { lenient, strict };

  // A CR that ends no line becomes `stray` (a space with cleanup_replace_stray_cr_lf).
  DataDecoder(Form form, LineEnds ends, char stray) : form_(form), ends_(ends), stray_(stray) {}

  struct Decoded {
    bool end = false;            // DATA's final dot was read; the rest of the input is not ours
    std::size_t consumed = 0;
  };
  // Appends to `out` at most as many bytes as it consumes, and one more for each bare LF.
  Decoded decode(std::string_view in, std::string& out);

  // BDAT's last chunk is over: a last line without an end gets one.
  void finish(std::string& out);

  bool saw_bare_newline() const { return saw_bare_; }

 private:
  bool line_end(std::string& out);   // true: that was the final dot
  Form form_;
  LineEnds ends_;
  char stray_;
  bool line_start_ = true;   // nothing of the current line was seen
  bool dot_ = false;         // the current line is "." so far
  bool previous_bare_ = false, saw_bare_ = false;
  std::size_t crs_ = 0;      // CRs seen last, not yet decided
};

}  // namespace millrace::smtp
