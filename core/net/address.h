// Inside of core/net: Endpoint to and from the kernel's socket addresses.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "core/net/stream.h"

namespace millrace::net {

struct SocketAddress {
  union {
    sockaddr any;
    sockaddr_in v4;
    sockaddr_in6 v6;
    sockaddr_un local;
  };
  socklen_t length = 0;  // 0: the text was no address

  SocketAddress() : local{} {}
  sockaddr* get() { return &any; }
  const sockaddr* get() const { return &any; }
  int family() const { return any.sa_family; }
};

SocketAddress to_socket_address(const Endpoint& endpoint);
// An IPv4 address mapped into IPv6 is given as IPv4; unix sockets give an empty address.
Endpoint to_endpoint(const SocketAddress& address);

}  // namespace millrace::net
