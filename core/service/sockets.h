// Where the connections of a program that serves filters come from.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"

namespace millrace::service {

struct SocketOptions {
  unsigned mode = 0666;    // of unix sockets, as Postfix's own services in the private folder have them
  std::string group;       // of unix sockets; "": the group of who starts it
};

// "unix:PATH" or "inet:HOST:PORT" (HOST an address or "localhost"); a listening descriptor.  Errors: config, io.
Result<int> listen_at(std::string_view text, const SocketOptions& options);

// Descriptors that systemd has opened for this process (sd_listen_fds(3)); empty: none.
std::vector<int> systemd_sockets();

}  // namespace millrace::service
