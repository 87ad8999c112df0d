// Sockets: see sockets.h.
#include "core/service/sockets.h"

#include <fcntl.h>
#include <grp.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "core/base/strings.h"
#include "core/net/stream.h"

namespace millrace::service {

Result<int> listen_at(std::string_view text, const SocketOptions& options) {
  constexpr int kBacklog = 1024;
  const std::string whole(text);
  if (text.starts_with("unix:") && text.size() > 5) {
    const std::string path(text.substr(5));
    gid_t group = static_cast<gid_t>(-1);
    if (!options.group.empty()) {
      const ::group* const entry = ::getgrnam(options.group.c_str());
      if (entry == nullptr) return fail(Errc::config, "--group: unknown group: " + options.group);
      group = entry->gr_gid;
    }
    auto fd = net::listen_unix(path, options.mode, kBacklog);
    if (!fd) return fd;
    if (group != static_cast<gid_t>(-1) && ::chown(path.c_str(), static_cast<uid_t>(-1), group) != 0) {
      const std::string why = std::strerror(errno);
      ::close(*fd);
      return fail(Errc::io, path + ": set the group: " + why);
    }
    return fd;
  }
  if (!text.starts_with("inet:")) return fail(Errc::config, whole + ": expected unix:PATH or inet:HOST:PORT");
  text.remove_prefix(5);
  const std::size_t colon = text.rfind(':');
  const auto port = colon == text.npos ? std::nullopt : parse_number<std::uint16_t>(text.substr(colon + 1));
  if (!port) return fail(Errc::config, whole + ": no port");
  std::string host(text.substr(0, colon));
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  if (host.empty() || host == "localhost") host = "127.0.0.1";
  return net::listen_tcp(net::Endpoint{host, *port, false}, kBacklog);
}

std::vector<int> systemd_sockets() {
  const char* const pid = std::getenv("LISTEN_PID");
  const char* const count = std::getenv("LISTEN_FDS");
  std::vector<int> out;
  if (pid == nullptr || count == nullptr || parse_number<pid_t>(pid) != ::getpid()) return out;
  const int number = parse_number<int>(count).value_or(0);
  for (int fd = 3; fd < 3 + number; ++fd) {
    ::fcntl(fd, F_SETFD, FD_CLOEXEC);
    out.push_back(fd);
  }
  ::unsetenv("LISTEN_PID");
  ::unsetenv("LISTEN_FDS");
  return out;
}

}  // namespace millrace::service
