#include "core/map/remote.h"

#include <array>
#include <optional>

#include "core/base/strings.h"
#include "core/net/in_gate.h"
#include "core/net/service_addresses.h"

namespace millrace::map {

namespace {

std::string reason(const Error& error) {
  switch (error.code) {
    case Errc::timeout: return "Connection timed out";
    case Errc::closed: return "unexpected disconnect";
    default: return printable(error.context);
  }
}

bool is_port(std::string_view text) {
  if (const auto number = parse_number<std::uint16_t>(text)) return *number != 0;
  return !text.empty() && !(text[0] >= '0' && text[0] <= '9');
}

// "host:port", "[::1]:port".
std::optional<RemoteServer> parse_inet(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  if (colon == text.npos || colon == 0 || !is_port(text.substr(colon + 1))) return {};
  std::string_view host = text.substr(0, colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  return RemoteServer{std::string(host), std::string(text.substr(colon + 1)), {}};
}

}  // namespace

Lookup where_waiting_is_allowed(const std::string& name, const std::function<Lookup()>& body) {
  if (net::in_fiber()) return body();
  if (net::Loop::current_or_null() != nullptr) return fail(Errc::temporary, name + ": asked where nothing may wait");
  Lookup out = std::optional<std::string>();
  net::Loop loop;
  const auto started = loop.spawn(net::Stack::plugin, [&] {
    out = body();
    loop.stop();
  });
  if (!started) return tl::unexpected(started.error());
  loop.run();
  return out;
}

Result<SocketmapName> parse_socketmap_name(std::string_view argument) {
  const auto bad = [] { return fail(Errc::config, "socketmap requires server:socketmap argument"); };
  const std::size_t colon = argument.rfind(':');
  if (colon == argument.npos || colon + 1 == argument.size()) return bad();
  SocketmapName out;
  out.map_name = argument.substr(colon + 1);
  const std::string_view server = argument.substr(0, colon);
  if (server.starts_with("unix:") && server.size() > 5) {
    out.server.unix_path = server.substr(5);
    return out;
  }
  if (!server.starts_with("inet:")) return bad();
  auto parsed = parse_inet(server.substr(5));
  if (!parsed) return bad();
  out.server = std::move(*parsed);
  return out;
}

Result<RemoteServer> parse_tcp_name(std::string_view argument) {
  auto parsed = parse_inet(argument);
  if (!parsed) return fail(Errc::config, "tcp table: need \"tcp:host:port\" instead of \"tcp:" + printable(argument) + "\"");
  return *parsed;
}

RemoteTable::RemoteTable(std::string name, RemoteServer server, Protocol protocol, Warn warn)
    : Named(std::move(name)), server_(std::move(server)), protocol_(std::move(protocol)), warn_(std::move(warn)) {}

Lookup RemoteTable::failed(const std::string& why) const {
  if (warn_) warn_("table " + name() + " lookup error: " + why);
  return fail(Errc::temporary, name() + ": query error: " + why);
}

Lookup RemoteTable::find(std::string_view key) {
  const bool lasting = net::in_fiber();
  return where_waiting_is_allowed(name(), [&] {
    Lookup out = ask(key);
    if (!lasting) idle_.clear();   // the loop made for this look-up ends with it, and so must its connections
    return out;
  });
}

Result<std::unique_ptr<net::Stream>> RemoteTable::connect(Deadline deadline) const {
  if (!server_.unix_path.empty()) return net::connect({server_.unix_path, 0, true}, {}, deadline);
  const auto places = net::offload([this] { return net::service_addresses(server_.host, server_.port); });
  if (!places) return fail(Errc::temporary, "host or service " + server_.to_text() + " not found: " + places.error().context);
  Result<std::unique_ptr<net::Stream>> last = fail(Errc::refused, "no address");
  for (const net::Endpoint& place : *places) {
    last = net::connect(place, {}, deadline);
    if (last || deadline.passed() || last.error().code == Errc::canceled) break;
  }
  return last;
}

Result<RemoteTable::Connection> RemoteTable::take(bool fresh, Deadline deadline) {
  while (!fresh && !idle_.empty()) {
    Connection connection = std::move(idle_.back());
    idle_.pop_back();
    // Bytes nobody asked for, or an end of file: the server has hung up or is out of step.
    if (!connection.stream->readable()) return connection;
  }
  for (int left = protocol_.connect_tries;;) {
    auto stream = connect(deadline);
    if (stream) {
      const TimePoint now = SteadyClock::now();
      return Connection{std::move(*stream), now, now, true};
    }
    if (--left <= 0 || deadline.passed() || stream.error().code == Errc::canceled) return tl::unexpected(stream.error());
    if (auto slept = net::sleep_until(deadline.earlier(Deadline::after(std::chrono::seconds(1)))); !slept) {
      return tl::unexpected(slept.error());
    }
  }
}

Result<RemoteReply> RemoteTable::exchange(Connection& connection, const std::string& request, Deadline deadline) const {
  if (auto sent = connection.stream->write(request, deadline); !sent) return tl::unexpected(sent.error());
  std::string bytes;
  std::array<char, 1024> piece;   // session stacks are small
  for (;;) {
    const auto got = connection.stream->read_some(piece.data(), piece.size(), deadline);
    if (!got) return tl::unexpected(got.error());
    bytes.append(piece.data(), *got);
    RemoteReply reply = protocol_.parse(bytes);
    if (reply.status == RemoteReply::Status::need_more) continue;
    if (reply.status == RemoteReply::Status::too_large) return fail(Errc::too_large, "the reply is too long");
    if (reply.status == RemoteReply::Status::malformed || reply.consumed != bytes.size()) {
      return fail(Errc::protocol, "malformed reply: " + printable(reply.text.substr(0, 100)));
    }
    return reply;
  }
}

Lookup RemoteTable::ask(std::string_view key) {
  const Deadline deadline = Deadline::after(kLookupTime);
  if (auto entered = gate_.enter(deadline); !entered) return failed("all connections are busy");
  const net::InGate inside(gate_);
  const std::string request = protocol_.request(key);
  for (bool fresh = false;;) {
    auto connection = take(fresh, deadline);
    if (!connection) {
      if (warn_) warn_("connect to " + server_.to_text() + ": " + reason(connection.error()));
      return failed(reason(connection.error()));
    }
    const bool reused = !connection->fresh;
    auto reply = exchange(*connection, request, deadline);
    if (!reply) {
      connection->stream->close();
      // A server may end a connection at any time: asked once more, on a new one.
      if (reply.error().code == Errc::closed && (reused || !fresh)) {
        fresh = true;
        continue;
      }
      return failed(reason(reply.error()));
    }
    connection->used = SteadyClock::now();
    connection->fresh = false;
    if (connection->used - connection->opened < kMaxAge) idle_.push_back(std::move(*connection));
    switch (reply->status) {
      case RemoteReply::Status::found: return std::optional<std::string>(std::move(reply->text));
      case RemoteReply::Status::not_found: return std::optional<std::string>();
      default: return failed("server says: " + printable(reply->text.substr(0, 200)));
    }
  }
}

void RemoteTable::refresh(const Warn&) {
  const TimePoint now = SteadyClock::now();
  idle_.remove_if([&](const Connection& one) { return now - one.used >= kMaxIdle || now - one.opened >= kMaxAge; });
}

}  // namespace millrace::map
