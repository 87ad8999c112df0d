// Who is at the other end of a unix socket.
#pragma once

#include <sys/socket.h>
#include <sys/types.h>

#include <optional>

namespace millrace::queue {

inline std::optional<uid_t> peer_user(int fd) {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return {};
  return peer.uid;
}

}  // namespace millrace::queue
