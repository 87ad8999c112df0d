// The addresses of a stream service that a configuration names by host and port, by the system's own look-up.
#pragma once

#include <string>
#include <vector>

#include "core/base/result.h"
#include "core/net/stream.h"

namespace millrace::net {

// Names and numbers both; an empty host is this machine.  Blocks: for start-up, or on the worker pool.  Errors:
// temporary, with the resolver's text.
Result<std::vector<Endpoint>> service_addresses(const std::string& host, const std::string& port);

}  // namespace millrace::net
