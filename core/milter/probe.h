// Looks at a filter or policy service from the outside: `millrace probe` and `millrace doctor`.
//
// It negotiates as the client does, walks the stages with a small message, and writes down what was answered, how
// fast, and what is not in the protocol.  Nothing is believed of the peer: packets are bounded, waits have an end.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "core/milter/wire.h"
#include "core/net/stream.h"

namespace millrace::milter {

struct ProbeStep {
  std::string event, answer;       // "MAIL", "continue"
  std::int64_t latency_us = 0;
};

struct ProbeReport {
  Options options;
  std::vector<ProbeStep> steps;
  std::vector<std::string> problems;   // what is out of protocol
  std::string ended;                   // why the walk ended early; ""
};

// "unix:/path", "local:/path", "/path", "inet:host:port", "host:port", "inet:port@host" (libmilter's form).
Result<net::Endpoint> parse_probe_address(const std::string& text);

// Negotiates only: for `doctor`. [fiber]
Result<Options> probe_options(const net::Endpoint& at, std::chrono::seconds budget);
// Errors: of connecting, and protocol when it does not talk the milter protocol at all. [fiber]
Result<ProbeReport> probe(const net::Endpoint& at, std::chrono::seconds budget);

std::vector<std::string> action_names(std::uint32_t actions);       // "ADDHDRS"
std::vector<std::string> protocol_names(std::uint32_t protocol);    // "NOCONNECT"

}  // namespace millrace::milter
