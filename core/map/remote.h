// socketmap: and tcp: tables: a server is asked for each key.
//
// Promise: a look-up takes at most kLookupTime and suspends its fiber, never the loop; a connection is used by one
// look-up at a time and kept for kMaxIdle; one that broke while idle is replaced once.  Whatever the server says
// that is not found or not found is an error.  Without a loop (tools) a look-up blocks.
#pragma once

#include <chrono>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/map/named.h"
#include "core/map/remote_wire.h"
#include "core/net/fiber.h"
#include "core/net/stream.h"

namespace millrace::map {

struct RemoteServer {
  std::string host, port;     // or
  std::string unix_path;
  std::string to_text() const { return unix_path.empty() ? host + ":" + port : unix_path; }
};

// "inet:HOST:PORT:NAME", "unix:PATH:NAME" / "HOST:PORT".  Pure.  Errors: config, as Postfix words them.
struct SocketmapName {
  RemoteServer server;
  std::string map_name;
};
Result<SocketmapName> parse_socketmap_name(std::string_view argument);
Result<RemoteServer> parse_tcp_name(std::string_view argument);

class RemoteTable : public Named {
 public:
  static constexpr std::chrono::seconds kLookupTime{100}, kMaxIdle{10}, kMaxAge{100};
  static constexpr std::size_t kMaxConnections = 100;   // Postfix's default_process_limit: one for each process

  struct Protocol {
    std::function<std::string(std::string_view key)> request;
    RemoteReply (*parse)(std::string_view bytes);
    int connect_tries;         // a second apart
  };
  RemoteTable(std::string name, RemoteServer server, Protocol protocol, Warn warn);

  Lookup find(std::string_view key) override;
  bool is_pattern() const override { return true; }   // the server decides about partial keys
  bool may_suspend() const override { return true; }
  void refresh(const Warn&) override;                 // closes what was idle too long

 private:
  struct Connection {
    std::unique_ptr<net::Stream> stream;
    TimePoint opened, used;
    bool fresh = true;
  };
  Lookup ask(std::string_view key);
  Result<Connection> take(bool fresh, Deadline deadline);
  Result<std::unique_ptr<net::Stream>> connect(Deadline deadline) const;
  Result<RemoteReply> exchange(Connection& connection, const std::string& request, Deadline deadline) const;
  Lookup failed(const std::string& why) const;

  RemoteServer server_;
  Protocol protocol_;
  Warn warn_;
  net::Gate gate_{kMaxConnections};
  std::list<Connection> idle_;   // of the loop's lifetime
};

// Runs `body` where it may suspend: on this fiber, or, in a thread without a loop, on a loop of its own.  On a loop
// outside of any fiber nothing may wait: an error.
Lookup where_waiting_is_allowed(const std::string& name, const std::function<Lookup()>& body);

}  // namespace millrace::map
