#include "core/net/line_stream.h"

#include <algorithm>
#include <cstring>

namespace millrace::net {
namespace {

constexpr std::size_t kFirstRead = 512;         // the buffer of a session in a dialogue
constexpr std::size_t kLargestRead = 64 * 1024;
constexpr std::size_t kHeldOutput = 64 * 1024;  // a pipelining client cannot make us hold more

}  // namespace

LineStream::LineStream(std::unique_ptr<Stream> stream, std::size_t buffer_bytes)
    : stream_(std::move(stream)), buffer_bytes_(std::clamp(buffer_bytes, kFirstRead, kLargestRead)) {}

Result<LineStream::Line> LineStream::read_line(std::size_t limit, Deadline deadline) {
  if (output_.size() > kHeldOutput) {
    if (auto flushed = flush(deadline); !flushed) return tl::unexpected(flushed.error());
  }
  for (std::size_t scanned = 0;;) {
    const std::string_view view = buffered();
    const std::size_t lf = view.find('\n', scanned);
    if (lf != std::string_view::npos) {
      Line line;
      line.bare_lf = lf == 0 || view[lf - 1] != '\r';
      const std::size_t length = lf - (line.bare_lf ? 0 : 1);
      line.too_long = length > limit;
      line.text = view.substr(0, std::min(length, limit));
      start_ += lf + 1;
      return line;
    }
    if (view.size() > limit + 1) return drop_rest(limit, deadline);  // + 1: that byte may be the CR
    scanned = view.size();
    if (auto filled = fill(deadline); !filled) return tl::unexpected(filled.error());
  }
}

// Keeps the first `limit` bytes and forgets what follows up to the LF, as it comes.
Result<LineStream::Line> LineStream::drop_rest(std::size_t limit, Deadline deadline) {
  for (;;) {
    const std::string_view rest = buffered().substr(limit);
    const std::size_t lf = rest.find('\n');
    if (lf != std::string_view::npos) {
      Line line;
      line.too_long = true;
      line.bare_lf = lf == 0 || rest[lf - 1] != '\r';
      char* const after_text = input_.get() + start_ + limit;
      const std::size_t left = rest.size() - (lf + 1);
      std::memmove(after_text, rest.data() + lf + 1, left);
      line.text = std::string_view(input_.get() + start_, limit);
      start_ += limit;
      end_ = start_ + left;
      return line;
    }
    input_[start_ + limit] = rest.back();  // a CR there may belong to the LF that comes next
    end_ = start_ + limit + 1;
    if (auto filled = fill(deadline); !filled) return tl::unexpected(filled.error());
  }
}

Result<std::string_view> LineStream::read_some(Deadline deadline) {
  if (start_ == end_) {
    if (auto filled = fill(deadline); !filled) return tl::unexpected(filled.error());
  }
  return buffered();
}

void LineStream::consume(std::size_t bytes) { start_ += std::min(bytes, end_ - start_); }

std::string_view LineStream::buffered() const { return {input_.get() + start_, end_ - start_}; }

bool LineStream::line_buffered() const { return buffered().find('\n') != std::string_view::npos; }

void LineStream::discard_input() { start_ = end_ = 0; }

void LineStream::write(std::string_view bytes) { output_ += bytes; }

Result<void> LineStream::flush(Deadline deadline) {
  if (output_.empty()) return {};
  const Result<void> written = stream_->write(output_, deadline);
  output_.clear();  // also after an error: the stream is over then
  if (output_.capacity() > kFirstRead) std::string().swap(output_);
  return written;
}

void LineStream::release_buffer() {
  if (start_ != end_) return;
  input_.reset();
  capacity_ = start_ = end_ = 0;
}

// Keeps what is unread and the `n` bytes at `data` after it.
void LineStream::append(const char* data, std::size_t n) {
  const std::size_t kept = end_ - start_;
  if (capacity_ - end_ < n) {
    if (capacity_ < kept + n) {
      const std::size_t bigger = std::max({kept + n, kept > 0 ? capacity_ * 2 : 0, kFirstRead});
      std::unique_ptr<char[]> grown(new char[bigger]);
      if (kept > 0) std::memcpy(grown.get(), input_.get() + start_, kept);
      input_ = std::move(grown);
      capacity_ = bigger;
    } else {
      std::memmove(input_.get(), input_.get() + start_, kept);
    }
    start_ = 0;
    end_ = kept;
  }
  std::memcpy(input_.get() + end_, data, n);
  end_ += n;
}

Result<void> LineStream::fill(Deadline deadline) {
  if (auto flushed = flush(deadline); !flushed) return flushed;
  release_buffer();
  // Into a buffer that all sessions of the thread share, because nothing suspends between the bytes' arrival
  // in it and the copy: a session that waits needs none, and each read takes all that has come.
  thread_local const std::unique_ptr<char[]> arrivals(new char[kLargestRead]);
  const Result<std::size_t> n = stream_->read_some(arrivals.get(), buffer_bytes_, deadline);
  if (!n) return tl::unexpected(n.error());
  append(arrivals.get(), *n);
  return {};
}

}  // namespace millrace::net
