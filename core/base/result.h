// Result<T>: a value, or why the outside world did not give it.  The only place that knows tl::expected.
//
// For failures of the outside world (milter down, DNS timeout, disk full).  Bad input from a peer is a
// codec status or std::optional; "somebody said no" is a Verdict or Reply; a broken invariant is
// MR_ASSERT.  See contrib/HACKING.md.
#pragma once

#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>

namespace millrace {

enum class Errc {
  timeout,    // a deadline passed
  canceled,   // the waiter was told to give up (shutdown, session gone)
  closed,     // the peer closed, or reset, the connection
  refused,    // nobody listens, or the peer does not want us
  protocol,   // the peer does not speak the protocol
  too_large,  // over a limit of ours
  io,         // an operating system call failed
  no_space,   // disk or memory budget used up
  config,     // the configuration cannot be used
  not_found,  // the thing asked for does not exist
  limit,      // no more of a bounded resource
  temporary,  // a look-up could not be done now
  exists,     // it is there already
  internal,   // our mistake, contained
};

// Context says what we were doing to whom: "milter inet:127.0.0.1:8891: read reply to RCPT: timed out".
// It is for the log, never for a client.
struct Error {
  Errc code = Errc::internal;
  std::string context;
};

template <typename T>
using Result = tl::expected<T, Error>;

inline tl::unexpected<Error> fail(Errc code, std::string context) {
  return tl::unexpected<Error>(Error{code, std::move(context)});
}

// The same error with "where: " put in front of its context.
inline tl::unexpected<Error> fail(std::string_view where, Error error) {
  error.context.insert(0, std::string(where) + ": ");
  return tl::unexpected<Error>(std::move(error));
}

}  // namespace millrace
