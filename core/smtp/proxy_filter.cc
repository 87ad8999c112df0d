#include "core/smtp/proxy_filter.h"

#include <netdb.h>
#include <netinet/in.h>

#include <algorithm>

#include "core/base/strings.h"
#include "core/smtp/command.h"

namespace millrace::smtp {
namespace {

constexpr std::size_t kMaxLine = 2048, kMaxLines = 100;
constexpr std::size_t kMaxCommand = 512;   // of XFORWARD, with CRLF

Error in_place(const Error& error, std::string_view doing) {
  return {error.code, std::string(doing) + ": " + (error.code == Errc::timeout ? "timed out" : error.code == Errc::closed ? "lost connection" : error.context)};
}

// Dots stuffed, any split.
class Stuffer {
 public:
  void feed(std::string_view bytes, std::string& out) {
    for (const char c : bytes) {
      if (at_start_ && c == '.') out += '.';
      out += c;
      at_start_ = c == '\n';
    }
  }
  bool at_start() const { return at_start_; }

 private:
  bool at_start_ = true;
};

}  // namespace

Result<net::Endpoint> parse_proxy_place(std::string_view text, const std::string& queue_directory) {
  if (istarts_with(text, "unix:")) {
    const std::string path(text.substr(5));
    if (path.empty()) return fail(Errc::config, "no path in: " + std::string(text));
    return net::Endpoint{path.starts_with('/') ? path : queue_directory + "/" + path, 0, true};
  }
  if (istarts_with(text, "inet:")) text.remove_prefix(5);
  const std::size_t colon = text.rfind(':');
  std::string host(colon == text.npos ? "" : text.substr(0, colon));
  const std::string port(colon == text.npos ? text : text.substr(colon + 1));
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  addrinfo hints{}, *list = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  if (port.empty() || ::getaddrinfo(host.empty() ? "127.0.0.1" : host.c_str(), port.c_str(), &hints, &list) != 0) {
    return fail(Errc::config, "no such host or port: " + std::string(text));
  }
  net::Endpoint out;
  char address[NI_MAXHOST], number[NI_MAXSERV];
  const bool good = ::getnameinfo(list->ai_addr, list->ai_addrlen, address, sizeof address, number, sizeof number,
                                  NI_NUMERICHOST | NI_NUMERICSERV) == 0;
  ::freeaddrinfo(list);
  if (!good) return fail(Errc::config, "no such host or port: " + std::string(text));
  out.address = address;
  out.port = parse_number<std::uint16_t>(number).value_or(0);
  return out;
}

Result<void> ProxyFilter::flush() { return stream_->flush(limit()); }

Result<Reply> ProxyFilter::read_reply() {
  Reply out;
  for (std::size_t count = 0; count < kMaxLines; ++count) {
    const auto line = stream_->read_line(kMaxLine, limit());
    if (!line) return tl::unexpected(line.error());
    const std::string_view text = line->text;
    const auto code = text.size() >= 3 ? parse_number<int>(text.substr(0, 3)) : std::nullopt;
    if (!code || *code < 200 || *code > 599 || (text.size() > 3 && text[3] != ' ' && text[3] != '-')) {
      return fail(Errc::protocol, "malformed reply: " + printable(text.substr(0, 100)));
    }
    out.code = *code;
    if (count > 0) out.text += '\n';
    if (text.size() > 4) out.text += printable(text.substr(4));
    if (text.size() == 3 || text[3] == ' ') return out;
  }
  return fail(Errc::protocol, "reply without end");
}

Result<Reply> ProxyFilter::ask(const std::string& command) {
  stream_->write(command + "\r\n");
  if (auto sent = flush(); !sent) return tl::unexpected(in_place(sent.error(), "sending " + command.substr(0, 10)));
  auto reply = read_reply();
  if (!reply) return tl::unexpected(in_place(reply.error(), "reply to " + command.substr(0, 10)));
  return reply;
}

Result<void> ProxyFilter::open(const std::vector<ProxyAttribute>& client) {
  auto connected = net::connect(settings_.at, {}, limit());
  if (!connected) return fail("connect", connected.error());
  stream_ = std::make_unique<net::LineStream>(std::move(*connected));
  const auto greeting = read_reply();
  if (!greeting) return tl::unexpected(in_place(greeting.error(), "greeting"));
  if (greeting->code / 100 != 2) return fail(Errc::refused, "greeting: " + greeting->one_line());
  const auto hello = ask("EHLO " + settings_.helo);
  if (!hello) return tl::unexpected(hello.error());
  if (hello->code / 100 != 2) return fail(Errc::refused, "reply to EHLO: " + hello->one_line());
  std::vector<std::string> known;
  for (const std::string_view line : split(hello->text, "\n")) {
    if (!istarts_with(line, "XFORWARD ")) continue;
    for (const std::string_view word : split(line.substr(9), " ")) known.push_back(upper(word));
  }
  std::string command;
  const auto send = [&]() -> Result<void> {
    if (command.empty()) return {};
    const auto reply = ask(std::exchange(command, {}));
    if (!reply) return tl::unexpected(reply.error());
    if (reply->code / 100 != 2) return fail(Errc::refused, "reply to XFORWARD: " + reply->one_line());
    return {};
  };
  for (const ProxyAttribute& one : client) {
    if (std::find(known.begin(), known.end(), one.name) == known.end()) continue;
    const std::string word = " " + one.name + "=" + (one.value.empty() ? "[UNAVAILABLE]" : encode_xtext(one.value));
    if (command.size() + word.size() + 2 > kMaxCommand) {
      if (auto sent = send(); !sent) return sent;
    }
    if (command.empty()) command = "XFORWARD";
    command += word;
  }
  return send();
}

Result<Reply> ProxyFilter::send_message(const mime::Message& message) {
  Stuffer stuffer;
  std::string out;
  stuffer.feed(message.header_text(), out);
  Result<void> sent;
  const auto walked = message.body.for_each([&](std::string_view piece) {
    stuffer.feed(piece, out);
    stream_->write(std::exchange(out, {}));
    sent = flush();
    return sent.has_value();
  });
  if (!sent) return tl::unexpected(in_place(sent.error(), "sending message content"));
  if (!walked) return tl::unexpected(walked.error());   // without the final dot, or half a message would count
  if (!stuffer.at_start()) out += "\r\n";
  stream_->write(out + ".\r\n");
  if (sent = flush(); !sent) return tl::unexpected(in_place(sent.error(), "sending message content"));
  auto reply = read_reply();
  if (!reply) return tl::unexpected(in_place(reply.error(), "reply to end of data"));
  return reply;
}

void ProxyFilter::quit() {
  if (!stream_) return;
  stream_->write("QUIT\r\n");
  (void)flush();
  stream_->stream().close();
  stream_.reset();
}

}  // namespace millrace::smtp
