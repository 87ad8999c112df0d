// The before-queue filter of smtpd_proxy_filter (SMTPD_PROXY_README): a conversation with an SMTP server that
// takes the message in our queue's place, and whose replies are the client's.
//
// Promise: bytes of the filter are bounded; a filter that is not there, is late or does not speak SMTP is an
// error, never a 250.  It does not decide what is sent when.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "core/mime/message.h"
#include "core/net/line_stream.h"
#include "core/net/stream.h"
#include "core/smtp/reply.h"

namespace millrace::smtp {

struct ProxySettings {
  net::Endpoint at;
  std::string helo;                    // smtpd_proxy_ehlo
  std::chrono::seconds timeout{100};   // smtpd_proxy_timeout: of each reply
  bool speed_adjust = false;           // first the whole message, then the filter
};

// "host:port", "inet:host:port", "unix:path", ":port" and "port" (this machine); paths from the queue directory.
// Asks the system for names: for start-up.  Errors: config.
Result<net::Endpoint> parse_proxy_place(std::string_view text, const std::string& queue_directory);

// One XFORWARD attribute; an empty value is sent as unavailable.
struct ProxyAttribute {
  std::string name, value;
};

class ProxyFilter {
 public:
  explicit ProxyFilter(const ProxySettings& settings) : settings_(settings) {}

  // Up to EHLO and XFORWARD.  Errors: what happened, for the log. [fiber]
  Result<void> open(const std::vector<ProxyAttribute>& client);
  // The reply to a command, which has no line end. [fiber]
  Result<Reply> ask(const std::string& command);
  // Headers, body and the final dot; the reply to it. [fiber]
  Result<Reply> send_message(const mime::Message& message);
  void quit();
  std::string place() const { return settings_.at.to_text(); }

 private:
  Result<Reply> read_reply();
  Result<void> flush();
  Deadline limit() const { return Deadline::after(settings_.timeout); }

  const ProxySettings& settings_;
  std::unique_ptr<net::LineStream> stream_;
};

}  // namespace millrace::smtp
