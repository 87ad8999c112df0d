// Lines over a Stream, with the two things line protocols need: replies held back while a complete
// command is already buffered (RFC 2920 section 3.2), and limits.
#pragma once

#include <string>
#include <string_view>

#include "core/net/stream.h"

namespace millrace::net {

class LineStream {
 public:
  explicit LineStream(std::unique_ptr<Stream> stream, std::size_t buffer_bytes = 32768);

  struct Line {
    std::string_view text;  // without line end; valid until the next read
    bool bare_lf = false;   // ended in LF alone
    bool too_long = false;  // text is the first `limit` bytes, the rest was dropped up to the LF
  };
  // Reads up to LF.  Pending output is flushed before suspending.  Errors as Stream::read_some.
  Result<Line> read_line(std::size_t limit, Deadline deadline);

  // What is buffered, reading once when nothing is.  Consume what was used.
  Result<std::string_view> read_some(Deadline deadline);
  void consume(std::size_t bytes);
  std::string_view buffered() const;
  bool line_buffered() const;  // a complete line is in the buffer
  void discard_input();        // drops buffered input: before STARTTLS (CVE-2011-0411)

  void write(std::string_view bytes);  // buffered; never suspends
  Result<void> flush(Deadline deadline);
  std::size_t pending_output() const { return output_.size(); }

  // Gives the input buffer back while nothing is pending: an idle session keeps no buffer.  Reading
  // does this by itself when it is about to wait with an empty buffer.
  void release_buffer();

  Stream& stream() { return *stream_; }

 private:
  Result<void> fill(Deadline deadline);
  Result<Line> drop_rest(std::size_t limit, Deadline deadline);
  void append(const char* data, std::size_t n);
  std::unique_ptr<Stream> stream_;
  std::size_t buffer_bytes_;
  std::string output_;
  std::unique_ptr<char[]> input_;  // what is buffered is [start_, end_)
  std::size_t capacity_ = 0, start_ = 0, end_ = 0;
};

}  // namespace millrace::net
