#include "core/deliver/client_session.h"

#include "core/base/strings.h"

namespace millrace::deliver {

namespace {
Deadline limit(std::chrono::seconds span) { return span.count() == 0 ? Deadline::never() : Deadline::after(span); }
}  // namespace

ClientSession::ClientSession(std::unique_ptr<net::Stream> stream, Host host, std::shared_ptr<const ClientOptions> options)
    : stream_(std::move(stream)), host_(std::move(host)), options_(std::move(options)) {}

void ClientSession::trace(char who, std::string_view lines) const {
  if (!trace_) return;
  for (const std::string_view line : split(lines, "\r\n")) trace_(who, line);
}

Result<Reply> ClientSession::read_reply(std::chrono::seconds timeout) {
  const Deadline deadline = limit(timeout);
  for (;;) {
    std::size_t used = 0;
    const ReplyParser::Status status = parser_.feed(input_, used);
    input_.erase(0, used);
    if (status == ReplyParser::Status::complete) {
      Reply reply = parser_.take();
      trace('<', reply.text);
      if (reply.code == 421) alive_ = false;   // the server is about to close (RFC 5321 section 3.8)
      return reply;
    }
    if (status == ReplyParser::Status::invalid) {
      alive_ = false;
      return fail(Errc::protocol, parser_.bad_line());
    }
    input_.resize(4096);
    const auto got = stream_->read_some(input_.data(), input_.size(), deadline);
    input_.resize(got ? *got : 0);
    if (!got) {
      alive_ = false;
      return tl::unexpected(got.error());
    }
  }
}

Result<Reply> ClientSession::ask(const std::string& command, std::chrono::seconds timeout) {
  trace('>', command);
  if (auto sent = stream_->write(command, limit(timeout)); !sent) {
    alive_ = false;
    return tl::unexpected(sent.error());
  }
  return read_reply(timeout);
}

Trouble ClientSession::refused(const Reply& reply) const {
  return {reply.dsn, "host " + host_.named() + " refused to talk to me: " + reply.flat(), "smtp; " + reply.text};
}

Trouble ClientSession::lost(const Error& error, const char* doing) const {
  if (error.code == Errc::timeout) {
    return {"4.4.2", "conversation with " + host_.named() + " timed out while " + doing, ""};
  }
  if (error.code == Errc::protocol) {
    return {"4.5.0", "Protocol error: host " + host_.named() + " said: " + error.context.substr(0, 200), ""};
  }
  if (error.code == Errc::canceled) return {"4.3.2", "delivery interrupted by shutdown", ""};
  return {"4.4.2", "lost connection with " + host_.named() + " while " + doing, ""};
}

std::optional<Trouble> ClientSession::open(const TlsPolicy& policy, const std::string& nexthop) {
  auto greeting = read_reply(options_->helo_timeout);
  if (!greeting) return lost(greeting.error(), "receiving the initial server greeting");
  if (!greeting->positive()) {
    Trouble trouble = refused(*greeting);
    if (greeting->code / 100 == 5 && options_->skip_5xx_greeting) trouble.dsn[0] = '4';
    return trouble;
  }
  greeting_ = greeting->first_line();
  if (auto trouble = hello()) return trouble;
  if (policy.level != TlsPolicy::Level::none) {
    if (auto trouble = encrypt(policy)) return trouble;
  }
  // On other ports than 25 the server may well be ours, under our name: a content filter.
  if (features_.own_name && !options_->lmtp && !host_.endpoint.is_unix && host_.endpoint.port == 25) {
    return Trouble{"5.4.6", "mail for " + nexthop + " loops back to myself", ""};
  }
  return {};
}

std::optional<Trouble> ClientSession::hello() {
  const char* verb = options_->lmtp ? "LHLO " : "EHLO ";
  const bool extended = options_->lmtp || (!options_->never_ehlo && (options_->always_ehlo ||
                                           upper(greeting_).find("ESMTP") != std::string::npos));
  features_ = {};
  if (extended) {
    const auto reply = ask(verb + options_->helo_name + "\r\n", options_->helo_timeout);
    if (!reply) {
      return lost(reply.error(), options_->lmtp ? "performing the LHLO handshake" : "performing the EHLO handshake");
    }
    if (reply->positive()) {
      features_ = parse_ehlo(*reply, options_->my_name, options_->discard_keywords);
      return {};
    }
    if (options_->lmtp || reply->code == 421) return refused(*reply);
  }
  const auto reply = ask("HELO " + options_->helo_name + "\r\n", options_->helo_timeout);
  if (!reply) return lost(reply.error(), "performing the HELO handshake");
  if (!reply->positive()) return refused(*reply);
  return {};
}

std::optional<Trouble> ClientSession::encrypt(const TlsPolicy& policy) {
  const bool must = policy.level == TlsPolicy::Level::encrypt;
  if (!features_.starttls) {
    if (!must) return {};
    return Trouble{"4.7.4", "TLS is required, but was not offered by host " + host_.named(), ""};
  }
  const auto reply = ask("STARTTLS\r\n", options_->starttls_timeout);
  if (!reply) return lost(reply.error(), "receiving the STARTTLS response");
  if (!reply->positive()) {
    if (!must && alive_) return {};
    std::string dsn = reply->dsn;
    dsn[0] = '4';
    return Trouble{dsn, "TLS is required, but host " + host_.named() + " refused to start TLS: " + reply->flat(), ""};
  }
  // What was received in the clear after the reply is not the server's word under TLS (CVE-2011-0411).
  input_.clear();
  auto info = stream_->start_tls(*policy.context, host_.endpoint.is_unix ? "" : host_.name, limit(options_->starttls_timeout));
  if (!info) {
    alive_ = false;
    return Trouble{"4.7.5", "Cannot start TLS: handshake failure", "", true};
  }
  tls_ = std::move(*info);
  input_.clear();
  return hello();   // all that was learned before is forgotten (RFC 3207 section 4.2)
}

bool ClientSession::reusable() {
  if (!alive_ || stream_->readable() || !input_.empty()) return false;
  if (options_->reuse_count > 0 && uses_ >= options_->reuse_count) return false;
  return options_->reuse_time.count() == 0 || SteadyClock::now() - since_ < options_->reuse_time;
}

void ClientSession::quit() {
  if (alive_) trace('>', "QUIT");
  if (alive_ && stream_->write("QUIT\r\n", limit(options_->quit_timeout)) && !options_->skip_quit_response) {
    (void)read_reply(options_->quit_timeout);
  }
  alive_ = false;
  stream_->close();
}

}  // namespace millrace::deliver
