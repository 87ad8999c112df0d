#include "core/queue/control_client.h"

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace millrace::queue {
namespace {

constexpr time_t kPatience = 15, kChangePatience = 600;   // s without a word from the daemon

}  // namespace

Result<ControlClient> ControlClient::connect(const std::string& socket_path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket_path.size() >= sizeof address.sun_path) return fail(Errc::io, socket_path + ": path is too long");
  std::memcpy(address.sun_path, socket_path.data(), socket_path.size());
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return fail(Errc::io, std::string("socket: ") + std::strerror(errno));
  ControlClient client(fd);
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    const bool down = errno == ENOENT || errno == ECONNREFUSED;
    return fail(down ? Errc::refused : Errc::io, std::strerror(errno));
  }
  return client;
}

ControlClient::~ControlClient() {
  if (fd_ >= 0) ::close(fd_);
}

ControlClient::ControlClient(ControlClient&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), input_(std::move(other.input_)) {}

Result<Strings> ControlClient::request(const Strings& request, const std::function<bool(const Strings&)>& item) {
  // A change of the whole queue says nothing before it is done.
  const timeval patience{!request.empty() && request[0] == "change" ? kChangePatience : kPatience, 0};
  for (const int option : {SO_RCVTIMEO, SO_SNDTIMEO}) ::setsockopt(fd_, SOL_SOCKET, option, &patience, sizeof patience);
  const auto broken = [&](const char* what) {
    if (errno != EAGAIN && errno != EWOULDBLOCK) return fail(Errc::closed, std::string(what) + std::strerror(errno));
    return fail(Errc::timeout, "control socket: no answer from the mail system within " + std::to_string(patience.tv_sec) + " s");
  };
  std::string bytes;
  wire::put_strings(wire::Type::request, request, bytes);
  for (std::size_t at = 0; at < bytes.size();) {
    const ssize_t sent = ::send(fd_, bytes.data() + at, bytes.size() - at, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return broken("control socket: ");
    at += static_cast<std::size_t>(sent);
  }
  Strings strings;
  std::size_t used = 0;
  char buffer[65536];
  while (true) {
    const wire::Frame frame = wire::decode(std::string_view(input_).substr(used));
    if (frame.status == wire::DecodeStatus::too_large) return fail(Errc::protocol, "control socket: bad frame");
    if (frame.status == wire::DecodeStatus::need_more) {
      input_.erase(0, used);
      used = 0;
      const ssize_t got = ::recv(fd_, buffer, sizeof buffer, 0);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return broken("control socket: ");
      if (got == 0) return fail(Errc::closed, "control socket: the daemon went away");
      input_.append(buffer, static_cast<std::size_t>(got));
      continue;
    }
    used += frame.consumed;
    if (!wire::parse_strings(frame.payload, strings)) return fail(Errc::protocol, "control socket: bad answer");
    if (frame.type == wire::Type::item) {
      if (!item(strings)) return fail(Errc::protocol, "control socket: bad item");
      continue;
    }
    input_.erase(0, used);
    if (frame.type == wire::Type::done) return strings;
    if (frame.type != wire::Type::failed || strings.size() != 2) return fail(Errc::protocol, "control socket: bad answer");
    const Errc code = strings[0] == "denied" ? Errc::refused : strings[0] == "not_found" ? Errc::not_found
                      : strings[0] == "not_eligible" ? Errc::config : Errc::io;
    return fail(code, strings[1]);
  }
}

}  // namespace millrace::queue
