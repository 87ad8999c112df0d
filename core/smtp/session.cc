// The talk: reading, dispatching, writing, counting.  See session.h.
#include "core/smtp/session.h"

#include <fmt/format.h>

#include "core/base/strings.h"
#include "core/mime/builder.h"
#include "core/net/fiber.h"

namespace millrace::smtp {

// In the order of the disconnect line.
const Session::Command Session::kCommands[kCommandCount] = {
    {"HELO", "helo", &Session::helo, kJunk | kBeforeTls | kLast},
    {"EHLO", "ehlo", &Session::ehlo, kJunk | kBeforeTls | kLast},
    {"XCLIENT", "xclient", &Session::xclient, 0},
    {"XFORWARD", "xforward", &Session::xforward, 0},
    {"STARTTLS", "starttls", &Session::starttls, kBeforeTls},
    {"AUTH", "auth", &Session::auth, 0},
    {"MAIL", "mail", &Session::mail, 0},
    {"RCPT", "rcpt", &Session::rcpt, 0},
    {"DATA", "data", &Session::data, kLast},
    {"BDAT", "bdat", &Session::bdat, 0},
    {"RSET", "rset", &Session::rset, kJunk},
    {"NOOP", "noop", &Session::noop, kJunk | kBeforeTls | kLast},
    {"VRFY", "vrfy", &Session::vrfy, kJunk | kLast},
    {"ETRN", "etrn", &Session::etrn, kJunk},
    {"QUIT", "quit", &Session::quit, kBeforeTls},
};

Session::Session(std::unique_ptr<net::Stream> stream, const ServiceContext& service, const net::Endpoint& client,
                 const net::Endpoint& server)
    : service_(service),
      params_(*service.params),
      stream_(std::move(stream)),
      socket_address_(client.address),
      log_(service.log),
      transcript_(static_cast<std::size_t>(service.params->smtpd_history_flush_threshold)) {
  facts_.session_number = service_.next_session_number();
  log_ = service_.log.with_number(static_cast<unsigned>(facts_.session_number));
  facts_.service = service_.name;
  facts_.stress = params_.stress;
  facts_.server_address = server.address;
  facts_.server_port = server.port == 0 ? "" : std::to_string(server.port);
  facts_.client_port = client.port == 0 ? "" : std::to_string(client.port);
}

Session::~Session() = default;

Deadline Session::read_deadline() const { return Deadline::after(params_.smtpd_timeout); }

void Session::run() {
  look_up_client();
  log_.info("connect from " + namaddr_);
  Reply refusal;
  if (admit(refusal)) {
    if (!params_.smtpd_tls_wrappermode || handshake()) converse();
  } else {
    send(refusal);
  }
  (void)stream_.flush(Deadline::after(params_.smtpd_timeout));
  end_transaction();
  if (chain_) chain_->close();
  chain_.reset();
  log_end();
  if (service_.anvil) {
    Anvil anvil = *service_.anvil;
    anvil.disconnect(client_slot_);
    anvil.disconnect(session_slot_);
  }
  stream_.stream().close();
  tell_postmaster();
}

bool Session::admit(Reply& refusal) {
  if (!service_.anvil) return true;
  Anvil anvil = *service_.anvil;
  session_slot_ = anvil.enter(service_.name);
  if (service_.session_limit > 0 && session_slot_.count > service_.session_limit) {
    log_event(log_, "reject", "421 4.3.2 All server ports are busy");
    refusal = Reply(421, "4.3.2", "All server ports are busy");
    return false;
  }
  return admit_client(refusal);
}

// Again after XCLIENT: limits are those of the client that it names.
bool Session::admit_client(Reply& refusal) {
  if (!service_.anvil) return true;
  Anvil anvil = *service_.anvil;
  anvil.disconnect(std::exchange(client_slot_, {}));
  facts_.client_connections = 0;
  if (!is_limited_client()) return true;
  client_slot_ = anvil.connect(service_.name, shown_address());
  facts_.client_connections = client_slot_.count;
  const auto over = [](std::uint32_t value, std::int64_t limit) { return limit > 0 && value > limit; };
  const char* what = nullptr;
  std::uint32_t value = 0;
  if (over(client_slot_.count, params_.smtpd_client_connection_count_limit)) {
    what = "Connection concurrency";
    value = client_slot_.count;
  } else if (over(client_slot_.rate, params_.smtpd_client_connection_rate_limit)) {
    what = "Connection rate";
    value = client_slot_.rate;
  }
  if (what == nullptr) return true;
  log_.warning(fmt::format("{} limit exceeded: {} from {} for service {}", what, value, namaddr_, service_.name));
  refusal = Reply(421, "4.7.0",
                  fmt::format("{} Error: too many connections from {}", params_.myhostname, shown_address()));
  return false;
}

void Session::converse() {
  Reply reply = greet();
  for (;;) {
    if (reply.then == Reply::Then::restart) {
      current_.reset();
      reply = admit_client(reply) ? greet() : reply;
      continue;
    }
    if (reply.then == Reply::Then::chunk) {
      reply = receive_chunk();
      continue;
    }
    const bool silent = reply.code == 0;   // the connection is gone, or is to go without a word
    if (silent || !send(reply)) return;
    count_reply(reply);
    if (reply.closes()) return;
    if (reply.then == Reply::Then::tls && !handshake()) return;
    if (reply.then == Reply::Then::data) {
      reply = receive_data();
    } else if (errors_ >= static_cast<std::size_t>(params_.smtpd_hard_error_limit)) {
      // Like Postfix: after the reply, before the next command.
      reason_ = "too many errors";
      reply = Reply(421, "4.7.0", params_.myhostname + " Error: too many errors");
    } else if (service_.stopping.load(std::memory_order_relaxed)) {
      reply = Reply(421, "4.3.2", params_.myhostname + " Service shutting down");
    } else {
      reply = next_command();
    }
  }
}

void Session::count_reply(const Reply& reply) {
  if (!current_ || reply.then == Reply::Then::data) return;
  if (!reply.negative()) {
    ++good_[*current_];
  } else if (reply.counts) {
    ++errors_;
  }
  const unsigned flags = *current_ < kCommandCount ? kCommands[*current_].flags : 0;
  if ((flags & kJunk) && junk_++ > static_cast<std::size_t>(params_.smtpd_junk_command_limit)) ++errors_;
  current_.reset();
}

bool Session::send(Reply& reply) {
  if (errors_ >= static_cast<std::size_t>(params_.smtpd_soft_error_limit) && params_.smtpd_error_sleep_time.count() > 0) {
    // The wait is before the reply, so that clients that make errors go slower.
    if (!net::sleep_until(Deadline::after(params_.smtpd_error_sleep_time))) return false;
  }
  if (params_.soft_bounce) soften(reply);
  if (reply.negative() && !params_.smtpd_reject_footer.empty()) {
    append_footer(reply, service_.expand_footer([this](std::string_view name) { return footer_value(name); }));
  }
  const std::string wire = reply.wire();
  if (traced_) trace('>', wire);
  stream_.write(wire);
  if (service_.notify != 0) {
    transcript_.out(reply);
    transcript_.trouble(trouble_of(reply, std::exchange(by_policy_, false)));
  }
  // Held back while the client has sent more already: RFC 2920 section 3.2.  Reading flushes.
  if (!reply.closes() && reply.then != Reply::Then::tls) return true;
  return stream_.flush(read_deadline()).has_value();
}

// Postfix's form: who speaks, the client, the line.  What a client says to prove who it is stays out.
void Session::trace(char who, std::string_view lines) const {
  for (std::string_view line : split(lines, "\r\n")) {
    const bool secret = who == '<' && istarts_with(line, "AUTH ");
    if (secret) line = line.substr(0, line.find(' ', 5));
    log_.info(fmt::format("{} {}: {}{}", who, namaddr_, line, secret ? " (not shown)" : ""));
  }
}

Reply Session::greet() {
  facts_.is_local = service_.is_local_client(socket_address_, facts_);
  const filter::Chain& chain = service_.chain_for ? *service_.chain_for(facts_.client_address) : service_.chain;
  chain_ = std::make_unique<filter::ChainSession>(chain, facts_, service_.trace, log_);
  access_denied_ = false;
  where_ = "CONNECT";
  const Reply greeting(220, "", params_.smtpd_banner);
  const filter::Verdict verdict = ask(filter::Stage::connect, nullptr, {}, 0);
  end_transaction();
  if (!verdict.refuses()) return greeting;
  Reply reply = refusal(verdict);
  if (!verdict.sticky) {
    access_denied_ = true;
    ++errors_;
    return reply;
  }
  if (reply.closes()) return Reply(421, "", params_.myhostname + " Service unavailable - try again later");
  return reply.code >= 500 ? Reply(554, "", params_.myhostname + " ESMTP not accepting connections") : greeting;
}

Reply Session::read_failed(const Error& error) {
  if (error.code == Errc::timeout) {
    reason_ = "timeout";
    return Reply(421, "4.4.2", params_.myhostname + " Error: timeout exceeded");
  }
  if (error.code == Errc::canceled) return Reply(421, "4.3.2", params_.myhostname + " Service shutting down");
  reason_ = "lost connection";
  return Reply(0, "", "", Reply::Then::close);
}

Reply Session::next_command() {
  const Result<net::LineStream::Line> line =
      stream_.read_line(static_cast<std::size_t>(params_.line_length_limit), read_deadline());
  if (!line) return read_failed(line.error());
  if (line->bare_lf && bare_newline_ != BareNewline::no) {
    noted_bare_newline_ = noted_bare_newline_ || bare_newline_ == BareNewline::note;
    if (bare_newline_ == BareNewline::reject) {
      log_event(log_, "reject", "bare <LF> received");
      return Reply(static_cast<int>(params_.smtpd_forbid_bare_newline_reject_code), "5.5.2",
                   params_.myhostname + " Error: bare <LF> received", Reply::Then::close);
    }
  }
  std::string_view text = line->text.substr(0, line->text.find('\0'));
  while (!text.empty() && text.back() == '\r') text.remove_suffix(1);
  if (traced_) trace('<', text);
  if (service_.notify != 0) transcript_.in(text);
  return dispatch(text);
}

std::string_view Session::Input::argument(std::size_t from) const {
  std::string_view rest = line;
  for (std::size_t i = 0; i < from; ++i) take_word(rest, " \t");
  return trim(rest);
}

Reply Session::dispatch(std::string_view line) {
  current_ = kCommandCount;
  if (params_.smtputf8_enable && !is_valid_utf8(line)) {
    return Reply(500, "5.5.2", "Error: bad UTF-8 syntax");
  }
  std::string replaced;
  if (!service_.command_filter.empty()) {
    while (!line.empty() && is_space(line.front())) line.remove_prefix(1);
    const map::Lookup found = service_.command_filter.find(line);
    if (!found) {
      log_.warning(fmt::format("{}: command filter: {}", namaddr_, found.error().context));
    } else if (*found) {
      log_.info(fmt::format("{}: replacing client command \"{}\" with \"{}\"", namaddr_, line, **found));
      replaced = std::move(**found);
      line = replaced;
    }
  }
  const Input input{line, split_words(line)};
  if (input.words.empty()) return Reply(500, "5.5.2", "Error: bad syntax");
  const std::string& verb = input.words[0].text;
  if (service_.noop_commands.matches(verb).value_or(false)) {
    current_.reset();
    if (junk_++ > static_cast<std::size_t>(params_.smtpd_junk_command_limit)) ++errors_;
    return Reply(250, "2.0.0", "Ok");
  }
  std::size_t index = 0;
  while (index < kCommandCount && !iequals(kCommands[index].verb, verb)) ++index;
  current_ = index;
  ++seen_[index];
  const bool is_quit = index < kCommandCount && kCommands[index].handler == &Session::quit;
  if (index == kCommandCount) {
    where_ = "UNKNOWN";
    if (mime::header_name_length(line) > 0 || service_.forbidden_commands.matches(verb).value_or(false)) {
      log_.warning(fmt::format("non-SMTP command from {}: {}", namaddr_, line.substr(0, 100)));
      return Reply(221, "2.7.0", "Error: I can break rules, too. Goodbye.", Reply::Then::close);
    }
  }
  if (access_denied_ && !is_quit) return Reply(503, "5.7.0", "Error: access denied for " + namaddr_);
  if (index == kCommandCount) return unknown_command(input);
  const Command& command = kCommands[index];
  if (service_.enforce_tls && !facts_.tls && !(command.flags & kBeforeTls)) {
    return Reply(530, "5.7.0", "Must issue a STARTTLS command first");
  }
  where_ = command.verb;
  if (improper_pipelining(command)) {
    return Reply(554, "5.5.0", "Error: SMTP protocol synchronization", Reply::Then::close);
  }
  return (this->*command.handler)(input);
}

Reply Session::unknown_command(const Input& input) {
  const filter::Verdict verdict = ask(filter::Stage::unknown, &input, input.line, 1);
  if (verdict.refuses()) return refusal(verdict);
  return Reply(500, "5.5.2", "Error: command not recognized");
}

// RFC 2920 section 3.1: what follows a command that must be the last of a group was sent without waiting
// for the reply; so is anything pipelined by a client that did not say EHLO.
bool Session::improper_pipelining(const Command& command) {
  if (facts_.improper_pipelining || (facts_.protocol == "ESMTP" && !(command.flags & kLast))) return false;
  const std::string_view ahead = stream_.buffered();
  if (ahead.empty()) return false;
  std::string shown;
  for (const char c : ahead.substr(0, 100)) {
    if (c == '\r') {
      shown += "\\r";
    } else if (c == '\n') {
      shown += "\\n";
    } else {
      shown += c;
    }
  }
  log_.info(fmt::format("improper command pipelining after {} from {}: {}", command.verb, namaddr_, shown));
  facts_.improper_pipelining = true;
  return params_.smtpd_forbid_unauth_pipelining;
}

void Session::log_end() {
  if (reason_ != nullptr) {
    const std::string_view where = where_;
    if (where == "DATA content" || where == "BDAT content") {
      log_.info(fmt::format("{} after {} ({} bytes) from {}", reason_, where.substr(0, 4), content_size_, namaddr_));
    } else if (where != "END-OF-MESSAGE" || std::string_view(reason_) != "lost connection") {
      // Nobody wants to read of clients that go away without QUIT.
      log_.info(fmt::format("{} after {} from {}", reason_, where, namaddr_));
    }
  }
  std::string line = "disconnect from " + namaddr_;
  const auto add = [&line](const char* name, std::uint32_t good, std::uint32_t seen) {
    if (seen == 0) return;
    line += fmt::format(" {}=", name);
    line += good == seen ? fmt::format("{}", seen) : fmt::format("{}/{}", good, seen);
  };
  std::uint32_t all_good = 0, all_seen = 0;
  for (std::size_t i = 0; i <= kCommandCount; ++i) {
    add(i < kCommandCount ? kCommands[i].counter : "unknown", good_[i], seen_[i]);
    all_good += good_[i];
    all_seen += seen_[i];
  }
  line += all_good == all_seen && all_seen > 0 ? fmt::format(" commands={}", all_seen) : fmt::format(" commands={}/{}", all_good, all_seen);
  if (noted_bare_newline_) line += " notes=bare_lf";
  log_.info(line);
}

}  // namespace millrace::smtp
