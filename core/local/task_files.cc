#include "core/local/task_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>

#include "core/net/fiber.h"
#include "core/net/stream.h"

namespace millrace::local {
namespace {

constexpr std::size_t kPiece = 64 * 1024;
constexpr std::size_t kMaxHeader = 1024 * 1024;
// A background process that a command left behind may keep the pipe open: its words do not count.
constexpr std::chrono::milliseconds kAfterEnd{20};

Error system_error(const char* what) {
  return {errno == ENOSPC || errno == EDQUOT ? Errc::no_space : Errc::io, std::string(what) + ": " + std::strerror(errno)};
}

Result<void> write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return tl::unexpected(system_error("write message"));
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return {};
}

}  // namespace

File::~File() { reset(); }
void File::reset() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}
File& File::operator=(File&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

Result<File> write_message(const deliver::ContentView& content, const std::string& directory, const CopyOptions* options) {
  File file(::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (file.get() < 0) return tl::unexpected(system_error("make a file for the message"));
  std::optional<MessageCopy> copy;
  std::string out;
  if (options != nullptr) {
    copy.emplace(*options);
    copy->begin(out);
  }
  std::string piece;
  for (std::uint64_t at = 0; at < content.size;) {
    std::string_view bytes;
    if (content.memory != nullptr) {
      bytes = std::string_view(*content.memory).substr(static_cast<std::size_t>(at), kPiece);
    } else {
      piece.resize(kPiece);
      const auto got = content.read_at ? content.read_at(at, piece) : Result<std::size_t>(std::size_t{0});
      if (!got || *got == 0) return fail(Errc::io, "mail queue file read error");
      bytes = std::string_view(piece).substr(0, *got);
    }
    at += bytes.size();
    if (copy) copy->feed(bytes, out);
    else out += bytes;
    if (out.size() < kPiece) continue;
    if (auto written = net::offload([&] { return write_all(file.get(), out); }); !written) return tl::unexpected(written.error());
    out.clear();
  }
  if (copy) copy->finish(out);
  if (auto written = net::offload([&] { return write_all(file.get(), out); }); !written) return tl::unexpected(written.error());
  // A program may open /dev/stdin: the file has no name, so whoever has a descriptor may read it.
  ::fchmod(file.get(), 0444);
  const std::string self = "/proc/self/fd/" + std::to_string(file.get());
  File reading(::open(self.c_str(), O_RDONLY | O_CLOEXEC));
  if (reading.get() < 0) return tl::unexpected(system_error("open the message for reading"));
  return reading;
}

struct Output::Reader {
  std::unique_ptr<net::Stream> stream;
  std::string bytes;
  std::size_t limit = 0;
  bool done = false;
  net::Event ended;
};

Result<std::unique_ptr<Output>> Output::make(std::size_t limit) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return tl::unexpected(system_error("pipe"));
  std::unique_ptr<Output> out(new Output);
  out->write_ = File(ends[1]);
  out->reader_ = std::make_shared<Reader>();
  out->reader_->stream = net::make_stream(ends[0]);
  out->reader_->limit = limit;
  const auto started = net::Loop::current().spawn(net::Stack::session, [reader = out->reader_] {
    char buffer[4096];
    while (const auto got = reader->stream->read_some(buffer, sizeof buffer, Deadline::never())) {
      reader->bytes.append(buffer, std::min(*got, reader->limit - reader->bytes.size()));
    }
    reader->done = true;
    reader->ended.set();
  });
  if (!started) return tl::unexpected(started.error());
  return out;
}

Output::~Output() {
  if (reader_) reader_->stream->close();
}

std::string Output::take() {
  write_.reset();
  if (!reader_->done) (void)reader_->ended.wait(Deadline::after(kAfterEnd));
  return reader_->bytes;
}

std::string header_section(const deliver::ContentView& content) {
  std::string out;
  const std::uint64_t most = std::min<std::uint64_t>(content.size, kMaxHeader);
  if (content.memory != nullptr) {
    out = content.memory->substr(0, kMaxHeader);
  } else {
    while (out.size() < most && out.find("\r\n\r\n") == out.npos) {
      const std::size_t start = out.size();
      out.resize(std::min<std::uint64_t>(start + kPiece, most));
      const auto got = content.read_at ? content.read_at(start, std::span<char>(out).subspan(start)) : Result<std::size_t>(std::size_t{0});
      out.resize(start + got.value_or(0));
      if (!got || *got == 0) break;
    }
  }
  const std::size_t end = out.find("\r\n\r\n");
  if (end != out.npos) out.resize(end + 2);
  return out;
}

}  // namespace millrace::local
