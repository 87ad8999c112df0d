// Body: bytes in memory up to a limit, then in an unnamed file.  Appends go to the file one write each:
// callers append in pieces of kilobytes, not lines.
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "core/base/random.h"
#include "core/mime/message.h"

namespace millrace::mime {
namespace {

Error os_error(std::string_view what) {
  const int code = errno;
  return {code == ENOSPC || code == EDQUOT ? Errc::no_space : Errc::io,
          std::string(what) + ": " + strerror(code)};
}

Result<void> write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return tl::unexpected(os_error("write message body"));
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return {};
}

int open_unnamed(int directory) {
  const int fd = ::openat(directory, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)) return fd;
  // A file system without O_TMPFILE: a name that is taken away at once.
  const std::string name = "body." + random_token(16);
  const int named = ::openat(directory, name.c_str(), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (named >= 0) ::unlinkat(directory, name.c_str(), 0);
  return named;
}

}  // namespace

Body::Body(int spool_directory, std::size_t memory_limit)
    : spool_directory_(spool_directory), memory_limit_(memory_limit) {}

Body::~Body() {
  if (fd_ >= 0) ::close(fd_);
}

Body::Body(Body&& other) noexcept
    : spool_directory_(other.spool_directory_),
      memory_limit_(other.memory_limit_),
      memory_(std::move(other.memory_)),
      size_(std::exchange(other.size_, 0)),
      fd_(std::exchange(other.fd_, -1)) {
  other.memory_.clear();
}

Body& Body::operator=(Body&& other) noexcept {
  if (this != &other) {
    if (fd_ >= 0) ::close(fd_);
    spool_directory_ = other.spool_directory_;
    memory_limit_ = other.memory_limit_;
    memory_ = std::move(other.memory_);
    other.memory_.clear();
    size_ = std::exchange(other.size_, 0);
    fd_ = std::exchange(other.fd_, -1);
  }
  return *this;
}

Result<void> Body::append(std::string_view bytes) {
  if (fd_ < 0 && spool_directory_ >= 0 && size_ + bytes.size() > memory_limit_) {
    if (Result<void> spilled = spill(); !spilled) return spilled;
  }
  if (fd_ >= 0) {
    if (Result<void> written = write_all(fd_, bytes); !written) return written;
  } else {
    memory_.append(bytes);
  }
  size_ += bytes.size();
  return {};
}

Result<void> Body::spill() {
  const int fd = open_unnamed(spool_directory_);
  if (fd < 0) return tl::unexpected(os_error("open spill file for message body"));
  if (Result<void> written = write_all(fd, memory_); !written) {
    ::close(fd);
    return written;
  }
  fd_ = fd;
  std::string().swap(memory_);
  return {};
}

Result<std::size_t> Body::read_at(std::uint64_t offset, std::span<char> out) const {
  if (offset >= size_) return std::size_t{0};
  const std::size_t wanted = static_cast<std::size_t>(std::min<std::uint64_t>(out.size(), size_ - offset));
  if (fd_ < 0) {
    memcpy(out.data(), memory_.data() + offset, wanted);
    return wanted;
  }
  for (;;) {
    const ssize_t n = ::pread(fd_, out.data(), wanted, static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return tl::unexpected(os_error("read message body"));
    if (n == 0 && wanted > 0) return fail(Errc::io, "read message body: file is shorter than written");
    return static_cast<std::size_t>(n);
  }
}

Result<void> Body::for_each(const std::function<bool(std::string_view)>& each) const {
  constexpr std::size_t kPiece = 64 * 1024;
  if (fd_ < 0) {
    for (std::size_t at = 0; at < memory_.size(); at += kPiece) {
      if (!each(std::string_view(memory_).substr(at, kPiece))) return {};
    }
    return {};
  }
  std::string buffer(kPiece, '\0');   // on the heap: fiber stacks are small
  for (std::uint64_t at = 0; at < size_;) {
    const Result<std::size_t> n = read_at(at, buffer);
    if (!n) return tl::unexpected(n.error());
    if (!each(std::string_view(buffer.data(), *n))) return {};
    at += *n;
  }
  return {};
}

}  // namespace millrace::mime
