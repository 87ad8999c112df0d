// Content: bytes in memory, or a prefix and a side file.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "core/net/fiber.h"
#include "core/queue/store.h"

namespace millrace::queue {

Content::Content(int fd, std::uint64_t size, std::string prefix)
    : bytes_(std::make_shared<const std::string>(std::move(prefix))), size_(size), fd_(fd) {}

Content::~Content() {
  if (fd_ >= 0) ::close(fd_);
}

Content::Content(Content&& other) noexcept
    : bytes_(std::move(other.bytes_)), size_(std::exchange(other.size_, 0)), fd_(std::exchange(other.fd_, -1)) {}

Content& Content::operator=(Content&& other) noexcept {
  std::swap(bytes_, other.bytes_);
  std::swap(size_, other.size_);
  std::swap(fd_, other.fd_);
  return *this;
}

Result<std::size_t> Content::read_at(std::uint64_t offset, std::span<char> out) const {
  if (offset >= size_ || out.empty()) return std::size_t{0};
  const std::string& prefix = *bytes_;
  if (offset < prefix.size()) {
    const std::size_t count = std::min<std::size_t>(out.size(), prefix.size() - offset);
    std::memcpy(out.data(), prefix.data() + offset, count);
    return count;
  }
  const std::size_t wanted = std::min<std::uint64_t>(out.size(), size_ - offset);
  const auto read = [&] {
    ssize_t got;
    do {
      got = ::pread(fd_, out.data(), wanted, static_cast<off_t>(offset - prefix.size()));
    } while (got < 0 && errno == EINTR);
    return got < 0 ? -errno : got;
  };
  const ssize_t got = net::in_fiber() ? net::offload(read) : read();
  if (got < 0) return fail(Errc::io, std::string("read side file: ") + std::strerror(static_cast<int>(-got)));
  // The size was checked when it was opened: a shorter file now is damage, not an end.
  if (got == 0) return fail(Errc::protocol, "side file is shorter than its message");
  return static_cast<std::size_t>(got);
}

}  // namespace millrace::queue
