// Addresses as text, and the listening sockets that the master makes.
#include <arpa/inet.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "core/net/address.h"

namespace millrace::net {

std::string Endpoint::to_text() const {
  if (is_unix) return address;
  return address.find(':') == std::string::npos ? fmt::format("{}:{}", address, port)
                                                : fmt::format("[{}]:{}", address, port);
}

SocketAddress to_socket_address(const Endpoint& endpoint) {
  SocketAddress out;
  if (endpoint.is_unix) {
    if (endpoint.address.empty() || endpoint.address.size() >= sizeof out.local.sun_path)
      return out;
    out.local.sun_family = AF_UNIX;
    std::memcpy(out.local.sun_path, endpoint.address.c_str(), endpoint.address.size() + 1);
    out.length = sizeof out.local;
  } else if (inet_pton(AF_INET, endpoint.address.c_str(), &out.v4.sin_addr) == 1) {
    out.v4.sin_family = AF_INET;
    out.v4.sin_port = htons(endpoint.port);
    out.length = sizeof out.v4;
  } else if (inet_pton(AF_INET6, endpoint.address.c_str(), &out.v6.sin6_addr) == 1) {
    out.v6.sin6_family = AF_INET6;
    out.v6.sin6_port = htons(endpoint.port);
    out.length = sizeof out.v6;
  }
  return out;
}

Endpoint to_endpoint(const SocketAddress& from) {
  Endpoint out;
  char text[INET6_ADDRSTRLEN] = "";
  if (from.family() == AF_INET) {
    inet_ntop(AF_INET, &from.v4.sin_addr, text, sizeof text);
    out.port = ntohs(from.v4.sin_port);
  } else if (from.family() == AF_INET6) {
    if (IN6_IS_ADDR_V4MAPPED(&from.v6.sin6_addr)) {
      inet_ntop(AF_INET, from.v6.sin6_addr.s6_addr + 12, text, sizeof text);
    } else {
      inet_ntop(AF_INET6, &from.v6.sin6_addr, text, sizeof text);
    }
    out.port = ntohs(from.v6.sin6_port);
  } else {
    out.is_unix = true;
  }
  out.address = text;
  return out;
}

Endpoint local_endpoint(int fd) {
  SocketAddress address;
  address.length = sizeof address.local;
  if (getsockname(fd, address.get(), &address.length) != 0) return {};
  return to_endpoint(address);
}

Endpoint remote_endpoint(int fd) {
  SocketAddress address;
  address.length = sizeof address.local;
  if (getpeername(fd, address.get(), &address.length) != 0) return {};
  return to_endpoint(address);
}

namespace {

Result<int> listening_failure(int fd, const Endpoint& at, const char* doing) {
  const std::string why = std::strerror(errno);
  if (fd >= 0) ::close(fd);
  return fail(Errc::io, fmt::format("{} {}: {}", doing, at.to_text(), why));
}

}  // namespace

Result<int> listen_tcp(const Endpoint& at, int backlog) {
  const SocketAddress address = to_socket_address(at);
  if (address.length == 0 || at.is_unix) {
    return fail(Errc::config, fmt::format("listen on {}: not an IP address", at.address));
  }
  const int fd = ::socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return listening_failure(fd, at, "socket for");
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  // One socket per family, as Postfix does: an IPv4 client never shows up as a mapped address.
  if (address.family() == AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  if (::bind(fd, address.get(), address.length) != 0) return listening_failure(fd, at, "bind");
  if (::listen(fd, backlog) != 0) return listening_failure(fd, at, "listen on");
  return fd;
}

Result<int> listen_unix(const std::string& path, unsigned mode, int backlog) {
  const Endpoint at{path, 0, true};
  const SocketAddress address = to_socket_address(at);
  if (address.length == 0) return fail(Errc::config, path + ": not a path for a socket");
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return listening_failure(fd, at, "socket for");
  struct stat there {};
  if (lstat(path.c_str(), &there) == 0 && S_ISSOCK(there.st_mode)) ::unlink(path.c_str());
  if (::bind(fd, address.get(), address.length) != 0) return listening_failure(fd, at, "bind");
  if (::chmod(path.c_str(), mode) != 0) return listening_failure(fd, at, "set the mode of");
  if (::listen(fd, backlog) != 0) return listening_failure(fd, at, "listen on");
  return fd;
}

}  // namespace millrace::net
