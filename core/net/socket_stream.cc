#include "core/net/socket_stream.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "core/base/assert.h"
#include "core/net/address.h"
#include "core/net/scheduler.h"

namespace millrace::net {

tl::unexpected<Error> system_failure(int error) {
  Errc code = Errc::io;
  if (error == ECONNREFUSED || (error == ENOENT)) code = Errc::refused;
  if (error == ETIMEDOUT) code = Errc::timeout;
  if (error == ECONNRESET || error == EPIPE || error == ENOTCONN) code = Errc::closed;
  return fail(code, std::strerror(error));
}

Result<std::size_t> SocketStream::read_some(char* data, std::size_t size, Deadline deadline) {
  if (loop_canceled()) return wait_failure(Woke::canceled);
  if (tls_ != nullptr) return tls_->read_some(data, size, deadline);
  for (bool wait = drained_;; wait = true) {
    if (wait) {
      if (auto waited = descriptor_.wait(Descriptor::Direction::read, deadline); !waited) {
        return tl::unexpected(waited.error());
      }
    }
    descriptor_.about_to_read();
    const ssize_t n = ::read(descriptor_.fd(), data, size);   // also the end of a pipe
    drained_ = n > 0 && static_cast<std::size_t>(n) < size;
    if (n > 0) return static_cast<std::size_t>(n);
    if (n == 0) return fail(Errc::closed, "end of file");
    if (errno != EAGAIN && errno != EINTR) return system_failure(errno == EBADF ? ENOTCONN : errno);
  }
}

Result<void> SocketStream::write(std::string_view bytes, Deadline deadline) {
  if (tls_ != nullptr) return tls_->write(bytes, deadline);
  while (!bytes.empty()) {
    const ssize_t n = ::send(descriptor_.fd(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n >= 0) {
      bytes.remove_prefix(static_cast<std::size_t>(n));
    } else if (errno == EAGAIN) {
      if (auto waited = descriptor_.wait(Descriptor::Direction::write, deadline); !waited)
        return waited;
    } else if (errno != EINTR) {
      return system_failure(errno == EBADF ? ENOTCONN : errno);
    }
  }
  return {};
}

bool SocketStream::readable() {
  if (tls_ != nullptr) return tls_->readable();
  char byte;
  return ::recv(descriptor_.fd(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 || errno != EAGAIN;
}

Result<TlsInfo> SocketStream::start_tls(TlsContext& context, const std::string& server_name,
                                        Deadline deadline) {
  MR_ASSERT(tls_ == nullptr);
  tls_ = std::make_unique<TlsSession>(descriptor_);
  return tls_->handshake(context, server_name, deadline);
}

void SocketStream::close() {
  if (tls_ != nullptr && descriptor_.fd() >= 0) tls_->say_goodbye();
  descriptor_.close();
}

std::unique_ptr<Stream> make_stream(int fd) {
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on,
             sizeof on);  // fails on unix sockets, which need none
  return std::make_unique<SocketStream>(fd);
}

namespace {

// Owns a descriptor until it has a Stream.
struct FdGuard {
  explicit FdGuard(int owned) : fd(owned) {}
  ~FdGuard() {
    if (fd >= 0) ::close(fd);
  }
  FdGuard(const FdGuard&) = delete;
  int fd;
};

Result<void> bind_source(int fd, int family, const std::string& address) {
  const SocketAddress source = to_socket_address({address, 0, false});
  if (source.length == 0) return fail(Errc::config, "bind " + address + ": not an IP address");
  if (source.family() != family) return {};  // smtp_bind_address rules IPv4 alone, and so for IPv6
  const int on = 1;
  setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
  if (::bind(fd, source.get(), source.length) != 0) {
    return fail(Errc::io, "bind " + address + ": " + std::strerror(errno));
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<Stream>> connect(const Endpoint& to, const ConnectOptions& options,
                                        Deadline deadline) {
  const SocketAddress address = to_socket_address(to);
  if (address.length == 0) return fail(Errc::config, to.address + ": not an address");
  FdGuard guard(::socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (guard.fd < 0) return system_failure(errno);
  if (!options.bind_address.empty() && !to.is_unix) {
    if (auto bound = bind_source(guard.fd, address.family(), options.bind_address); !bound) {
      return tl::unexpected(bound.error());
    }
  }
  int error = ::connect(guard.fd, address.get(), address.length) == 0 ? 0 : errno;
  while (error == EAGAIN) {  // a unix socket whose backlog is full; there is nothing to wait for
    const Deadline pause = Deadline::after(std::chrono::milliseconds(20)).earlier(deadline);
    if (auto slept = sleep_until(pause); !slept) return tl::unexpected(slept.error());
    if (deadline.passed()) return wait_failure(Woke::timeout);
    error = ::connect(guard.fd, address.get(), address.length) == 0 ? 0 : errno;
  }
  if (error != 0 && error != EINPROGRESS) return system_failure(error);
  const int on = 1;
  if (!to.is_unix) setsockopt(guard.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  // From here on the Descriptor owns it; kept apart from the Stream because it is not connected
  // yet.
  if (error == EINPROGRESS) {
    Descriptor connecting(std::exchange(guard.fd, -1));
    auto waited = connecting.wait(Descriptor::Direction::write, deadline);
    if (!waited) return tl::unexpected(waited.error());
    guard.fd = connecting.release();
    socklen_t size = sizeof error;
    getsockopt(guard.fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) return system_failure(error);
  }
  return std::make_unique<SocketStream>(std::exchange(guard.fd, -1));
}

}  // namespace millrace::net
