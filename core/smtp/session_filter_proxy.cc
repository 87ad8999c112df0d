// smtpd_proxy_filter: MAIL, RCPT and the content go to an SMTP server, whose replies the client gets.  Nothing is
// queued here; with speed_adjust the server is called when the whole message is there.
#include <fmt/format.h>

#include "core/base/strings.h"
#include "core/mime/received.h"
#include "core/smtp/session.h"

namespace millrace::smtp {

// Details are for the log; the client may try again.
Reply Session::proxy_failed(const Error& error) {
  log_.warning(fmt::format("proxy {}: {}", service_.proxy->at.to_text(), error.context));
  transaction_->proxy.reset();
  return Reply(451, "4.3.0", "Error: queue file write error");
}

void Session::log_proxy(const char* what, const Reply& reply) const {
  const mime::Envelope& envelope = transaction_->envelope;
  std::string line = fmt::format("{}: {}: {}; from=<{}>", what, where_, reply.one_line(), envelope.sender);
  if (!envelope.recipients.empty()) line += fmt::format(" to=<{}>", envelope.recipients.back().address);
  line += " proto=" + facts_.protocol;
  if (!facts_.helo_name.empty()) line += fmt::format(" helo=<{}>", facts_.helo_name);
  log_.info(line);
}

// The reply when it is not of the class wanted.
std::optional<Reply> Session::proxy_say(const std::string& command, int wanted) {
  const Result<Reply> reply = transaction_->proxy->ask(command);
  if (!reply) return proxy_failed(reply.error());
  if (reply->code / 100 == wanted) return {};
  log_proxy("proxy-reject", *reply);
  Reply out = *reply;
  if (out.code < 400) out = Reply(451, "4.3.0", "Error: queue file write error");   // a success where none was due
  return out;
}

// A connection, up to the reply to MAIL.
std::optional<Reply> Session::proxy_open() {
  const mime::Envelope& envelope = transaction_->envelope;
  const bool told = forwarded_ && forwarded_->client;
  const auto known = [](const std::string& text) { return iequals(text, "unknown") ? std::string() : text; };
  std::string address = known(told ? forwarded_->address : envelope.client_address);
  if (address.find(':') != address.npos && !istarts_with(address, "ipv6:")) address.insert(0, "IPv6:");
  const std::vector<ProxyAttribute> client = {
      {"NAME", known(told ? forwarded_->name : envelope.client_name)},
      {"ADDR", address},
      {"PORT", known(told ? forwarded_->port : envelope.client_port)},
      {"HELO", told ? forwarded_->helo : envelope.helo_name},
      {"IDENT", forwarded_ ? forwarded_->ident : ""},
      {"PROTO", known(told ? forwarded_->protocol : envelope.protocol)},
      {"SOURCE", envelope.source}};
  transaction_->proxy = std::make_unique<ProxyFilter>(*service_.proxy);
  if (const Result<void> opened = transaction_->proxy->open(client); !opened) return proxy_failed(opened.error());
  if (std::optional<Reply> refused = proxy_say(transaction_->commands.front(), 2)) {
    transaction_->proxy.reset();
    return refused;
  }
  return {};
}

std::optional<Reply> Session::proxy_recipient(std::string_view command) {
  Transaction& current = *transaction_;
  if (current.envelope.recipients.empty() && current.proxy == nullptr) log_.info("NOQUEUE: client=" + namaddr_);
  if (!service_.proxy->speed_adjust) {
    if (current.proxy == nullptr) {
      if (!current.envelope.recipients.empty()) return Reply(451, "4.3.0", "Error: queue file write error");   // it went away
      if (std::optional<Reply> refused = proxy_open()) return refused;
    }
    if (std::optional<Reply> refused = proxy_say(std::string(command), 2)) return refused;
  }
  current.commands.emplace_back(command);
  return {};
}

Reply Session::proxy_message(mime::Message& message) {
  Transaction& current = *transaction_;
  current.prepend_to(message);
  if (service_.proxy->speed_adjust) {
    if (std::optional<Reply> refused = proxy_open()) return *refused;
    for (std::size_t i = 1; i < current.commands.size(); ++i) {
      if (std::optional<Reply> refused = proxy_say(current.commands[i], 2)) return *refused;
    }
    if (std::optional<Reply> refused = proxy_say("DATA", 3)) return *refused;
  }
  if (current.proxy == nullptr) return Reply(451, "4.3.0", "Error: queue file write error");
  const Result<Reply> reply = current.proxy->send_message(message);
  if (!reply) return proxy_failed(reply.error());
  if (reply->code / 100 != 2 && reply->code < 400) return proxy_failed({Errc::protocol, "reply to end of data: " + reply->one_line()});
  log_proxy(reply->code / 100 == 2 ? "proxy-accept" : "proxy-reject", *reply);
  current.proxy->quit();
  return *reply;
}

}  // namespace millrace::smtp
