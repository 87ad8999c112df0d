#include "core/daemon/metrics.h"

#include <fmt/format.h>
#include <unistd.h>

#include "core/base/strings.h"
#include "core/net/fiber.h"

namespace millrace::daemon {
namespace {

constexpr auto kRequestTime = std::chrono::seconds(10);
constexpr std::size_t kLongestRequest = 8 * 1024, kMostClients = 16;

// Reads to the end of a request's head: true for one that wants the metrics.
bool wants_metrics(net::Stream& stream, bool& found) {
  std::string head;
  char piece[1024];
  const Deadline until = Deadline::after(kRequestTime);
  while (head.find("\r\n\r\n") == head.npos && head.find("\n\n") == head.npos) {
    if (head.size() > kLongestRequest) return false;
    const auto n = stream.read_some(piece, sizeof piece, until);
    if (!n) return false;
    head.append(piece, *n);
  }
  const std::string_view line = std::string_view(head).substr(0, head.find_first_of("\r\n"));
  const auto words = split(line, " ");
  if (words.size() < 2 || words[0] != "GET") return false;
  found = words[1] == "/" || words[1] == "/metrics" || words[1].starts_with("/metrics?");
  return true;
}

}  // namespace

Result<int> listen_metrics(const std::string& text) {
  std::string_view at = text;
  if (at.starts_with("unix:")) {
    at.remove_prefix(5);
    if (!at.starts_with('/')) return fail(Errc::config, "\"" + text + "\": the path must be absolute");
    return net::listen_unix(std::string(at), 0660, 16);
  }
  if (at.starts_with("inet:")) at.remove_prefix(5);
  const std::size_t colon = at.rfind(':');
  const auto port = colon == at.npos ? std::nullopt : parse_number<std::uint16_t>(at.substr(colon + 1));
  std::string_view host = at.substr(0, colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  if (!port) return fail(Errc::config, "\"" + text + "\" is neither unix:/path nor address:port");
  if (host == "localhost") host = "127.0.0.1";
  if (!host.starts_with("127.") && host != "::1") return fail(Errc::config, "\"" + text + "\" is not a loopback address");
  return net::listen_tcp({std::string(host), *port, false}, 16);
}

MetricsServer::MetricsServer(int listening_fd, std::function<std::string()> text) : text_(std::move(text)) {
  acceptor_ = std::make_unique<net::Acceptor>(listening_fd, [this](int fd) {
    if (open_ >= kMostClients) {
      ::close(fd);
      return;
    }
    ++open_;
    const bool started = net::Loop::current().spawn(net::Stack::session, [this, fd] {
      const auto stream = net::make_stream(fd);
      bool found = false;
      if (wants_metrics(*stream, found)) {
        const std::string body = found ? text_() : "not found\n";
        (void)stream->write(fmt::format("HTTP/1.1 {}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: {}\r\n"
                                        "Connection: close\r\n\r\n{}",
                                        found ? "200 OK" : "404 Not Found", body.size(), body),
                            Deadline::after(kRequestTime));
      }
      stream->close();
      --open_;
    }).has_value();
    if (!started) {
      --open_;
      ::close(fd);
    }
  });
}

}  // namespace millrace::daemon
