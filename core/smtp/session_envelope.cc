// HELO, EHLO, MAIL, RCPT, RSET, NOOP, VRFY, ETRN, QUIT, AUTH.  Order of the checks as in Postfix, since the
// first that fails gives the reply.
#include <fmt/format.h>

#include <algorithm>

#include "core/base/strings.h"
#include "core/smtp/address.h"
#include "core/smtp/session.h"

namespace millrace::smtp {
namespace {

Reply to_reply(const ParameterError& error) { return Reply(error.code, error.enhanced, error.text); }

// What a name from the client may hold in logs and headers.
std::string neutered(std::string_view text) {
  std::string out = printable(text);
  for (char& c : out) {
    if (std::string_view("<>()\\\";@").find(c) != std::string_view::npos) c = '?';
  }
  return out;
}

std::string domain_of(std::string_view address) {
  const std::size_t at = address.rfind('@');
  return std::string(at == address.npos ? std::string_view() : address.substr(at + 1));
}

}  // namespace

Extensions Session::extensions() const {
  return {.smtputf8 = params_.smtputf8_enable && !(hidden_keywords_ & kSmtpUtf8),
          .dsn = !(hidden_keywords_ & kDsn),
          .verp = may_verp(),
          .verp_default = params_.default_verp_delimiters,
          .verp_allowed = params_.verp_delimiter_filter};
}

// By the client as XCLIENT has it, unlike the rights to XCLIENT and XFORWARD.
bool Session::may_verp() const {
  return service_.verp_clients.matches_host(facts_.client_name, facts_.client_address).value_or(false);
}

Reply Session::helo(const Input& input) { return greet_name(input, false); }
Reply Session::ehlo(const Input& input) { return greet_name(input, true); }

Reply Session::greet_name(const Input& input, bool extended) {
  // RFC 2034: greeting, HELO and EHLO have no enhanced status codes.
  if (input.words.size() < 2) return Reply(501, "", extended ? "Syntax: EHLO hostname" : "Syntax: HELO hostname");
  std::string name = neutered(input.argument(1));
  const std::string saved_name = std::exchange(facts_.helo_name, name);
  const filter::Verdict verdict = ask(filter::Stage::helo, &input, facts_.helo_name, 2);
  if (verdict.refuses()) {
    Reply reply = refusal(verdict);
    if (!verdict.sticky || reply.closes()) {
      facts_.helo_name = saved_name;
      if (!transaction_->begun) end_transaction();
      return reply;
    }
  }
  end_transaction();
  transcript_.checkpoint();
  chunks_failed_ = false;
  // HELO after EHLO does not go back to SMTP: that would blind the test for improper pipelining.
  if (extended) facts_.protocol = "ESMTP";
  return extended ? keywords(verdict.action != filter::Action::reject) : Reply(250, "", params_.myhostname);
}

Reply Session::keywords(bool welcome) {
  hidden_keywords_ = service_.discard_keywords;
  if (!welcome) {   // who is refused with 5xx is not told what there is
    return Reply(250, "", params_.myhostname + "\nENHANCEDSTATUSCODES");
  }
  if (!service_.discard_keyword_maps.empty()) {
    const map::Lookup found = service_.discard_keyword_maps.find(shown_address());
    if (!found) {
      log_.warning(found.error().context);
    } else if (*found) {
      hidden_keywords_ = parse_keywords(**found, nullptr);
    }
  }
  if ((hidden_keywords_ & ~kSilentDiscard) && !(hidden_keywords_ & kSilentDiscard)) {
    log_.info("discarding EHLO keywords: " + keyword_names(hidden_keywords_));
  }
  std::string text = params_.myhostname;
  const auto offer = [&](unsigned keyword, bool there, std::string_view line) {
    if (there && !(hidden_keywords_ & keyword)) text.append("\n").append(line);
  };
  offer(kPipelining, true, "PIPELINING");
  offer(kSize, true, params_.message_size_limit > 0 ? fmt::format("SIZE {}", params_.message_size_limit) : "SIZE");
  offer(kVrfy, !params_.disable_vrfy_command, "VRFY");
  offer(kEtrn, true, "ETRN");
  offer(kStarttls, service_.tls && !facts_.tls, "STARTTLS");
  offer(kXverp, may_verp(), "XVERP");
  offer(kXclient, may_xclient_, "XCLIENT NAME ADDR PROTO HELO REVERSE_NAME PORT LOGIN DESTADDR DESTPORT");
  offer(kXforward, may_xforward_, "XFORWARD NAME ADDR PROTO HELO SOURCE PORT IDENT");
  offer(kEnhancedStatusCodes, true, "ENHANCEDSTATUSCODES");
  offer(kEightBitMime, true, "8BITMIME");
  offer(kDsn, true, "DSN");
  offer(kSmtpUtf8, params_.smtputf8_enable, "SMTPUTF8");
  offer(kChunking, true, "CHUNKING");
  return Reply(250, "", text);
}

std::optional<std::string> Session::address_of(const Word& typed, bool smtputf8, bool may_be_empty, bool strict) {
  if (typed.unclosed) return {};
  std::optional<std::string> address = parse_path(typed.text, strict);
  bool good = address.has_value() && (may_be_empty || !address->empty());
  if (good && !smtputf8 && !is_ascii(*address)) {
    // Domains need the extension; local parts do not, unless strict_smtputf8 (Postfix).
    good = !params_.strict_smtputf8 && is_ascii(domain_of(*address));
  }
  if (good && !address->empty()) good = service_.router->is_deliverable_syntax(*address);
  if (good) return address;
  log_.warning(fmt::format("Illegal address syntax from {} in {} command: {}", namaddr_, where_, typed.text));
  return {};
}

Reply Session::mail(const Input& input) {
  if (params_.smtpd_helo_required && facts_.helo_name.empty()) return Reply(503, "5.5.1", "Error: send HELO/EHLO first");
  if (transaction_ && transaction_->begun) return Reply(503, "5.5.1", "Error: nested MAIL command");
  if (input.words.size() < 3 || !iequals(input.words[1].text, "from:")) {
    return Reply(501, "5.5.4", "Syntax: MAIL FROM:<address>");
  }
  if (service_.anvil && params_.smtpd_client_message_rate_limit > 0 && is_limited_client()) {
    Anvil anvil = *service_.anvil;
    const std::uint32_t rate = anvil.message(service_.name, shown_address());
    if (rate > params_.smtpd_client_message_rate_limit) {
      log_.warning(fmt::format("Message delivery request rate limit exceeded: {} from {} for service {}", rate, namaddr_,
                               service_.name));
      return Reply(450, "4.7.1", "Error: too much mail from " + shown_address());
    }
  }
  MailParameters parameters;
  if (const auto error = parse_mail_parameters(input.words, 3, extensions(), parameters)) return to_reply(*error);
  std::optional<std::string> sender =
      address_of(input.words[2], parameters.smtputf8, true, params_.strict_rfc821_envelopes);
  if (!sender) return Reply(501, "5.1.7", "Bad sender address syntax");
  if (!parameters.verp.empty() && sender->empty()) return Reply(503, "5.5.4", "Error: XVERP requires non-null sender");
  if (params_.message_size_limit > 0 && parameters.size > static_cast<std::uint64_t>(params_.message_size_limit)) {
    return Reply(552, "5.3.4", "Message size exceeds fixed limit");
  }
  if (!service_.sink->has_space(parameters.size)) return Reply(452, "4.3.1", "Insufficient system storage");

  end_transaction();
  chunks_failed_ = false;
  Transaction& current = transaction();
  current.begun = true;
  mime::Envelope& envelope = current.envelope;
  envelope.sender = std::move(*sender);
  envelope.size = parameters.size;
  envelope.body = parameters.body;
  envelope.smtputf8 = parameters.smtputf8;
  envelope.ret = parameters.ret;
  envelope.envid = std::move(parameters.envid);
  envelope.verp = std::move(parameters.verp);
  envelope.arrival = wall_now();
  envelope.client_name = facts_.client_name;
  envelope.client_address = shown_address();
  envelope.client_port = facts_.client_port;
  envelope.reverse_client_name = facts_.reverse_client_name;
  envelope.helo_name = facts_.helo_name;
  envelope.protocol = facts_.protocol;
  envelope.sasl_method = facts_.sasl_method;
  envelope.sasl_username = facts_.sasl_username;
  envelope.sasl_sender = facts_.sasl_sender;
  envelope.content_filter = params_.content_filter;
  if (forwarded_) {
    envelope.log_client_name = forwarded_->name;
    envelope.log_client_address = forwarded_->address;
    envelope.log_client_port = forwarded_->port;
    envelope.log_helo_name = forwarded_->helo;
    envelope.log_protocol = forwarded_->protocol;
    envelope.log_ident = forwarded_->ident;
  }
  envelope.source = service_.is_local_client(socket_address_, facts_) ? "LOCAL" : "REMOTE";
  if (forwarded_ && !forwarded_->source.empty()) envelope.source = forwarded_->source;
  std::optional<Reply> reply;
  // Ahead of the filters, so that they know the queue ID.
  if (!service_.proxy && !params_.smtpd_delay_open_until_valid_rcpt && !open_message("MAIL")) {
    reply = Reply(451, "4.3.0", "Error: queue file write error");
  }
  if (!reply) {
    const filter::Verdict verdict = ask(filter::Stage::mail, &input, input.words[2].text, 3);
    note_outcome(verdict);
    if (verdict.refuses()) reply = refusal(verdict);
  }
  if (reply) {
    const std::unique_ptr<Forwarded> kept = std::move(forwarded_);
    end_transaction();
    return *reply;
  }
  if (service_.proxy) current.commands.emplace_back(input.line);
  return Reply(250, "2.1.0", "Ok");
}

bool Session::open_message(std::string_view after) {
  mime::Envelope& envelope = transaction().envelope;
  if (!envelope.queue_id.empty()) return true;
  Result<std::string> id = service_.sink->new_queue_id();
  if (!id) {
    log_.warning(fmt::format("no queue id after {}: {}", after, id.error().context));
    return false;
  }
  envelope.queue_id = std::move(*id);
  std::string line = fmt::format("{}: client={}", envelope.queue_id, namaddr_);
  if (!facts_.sasl_method.empty()) line += ", sasl_method=" + facts_.sasl_method;
  if (!facts_.sasl_username.empty()) line += ", sasl_username=" + facts_.sasl_username;
  if (!facts_.sasl_sender.empty()) line += ", sasl_sender=" + facts_.sasl_sender;
  if (forwarded_) {
    if (!forwarded_->ident.empty()) line += ", orig_queue_id=" + forwarded_->ident;
    if (!forwarded_->address.empty() || !forwarded_->name.empty()) {
      const auto or_unknown = [](const std::string& text) { return text.empty() ? "unknown" : text; };
      line += fmt::format(", orig_client={}[{}]", or_unknown(forwarded_->name), or_unknown(forwarded_->address));
    }
  }
  log_.info(line);
  return true;
}

Reply Session::rcpt(const Input& input) {
  if (!transaction_ || !transaction_->begun) return Reply(503, "5.5.1", "Error: need MAIL command");
  Transaction& current = *transaction_;
  if (current.bdat) return Reply(503, "5.5.1", "Error: RCPT after BDAT");
  if (input.words.size() < 3 || !iequals(input.words[1].text, "to:")) {
    return Reply(501, "5.5.4", "Syntax: RCPT TO:<address>");
  }
  if (service_.anvil && params_.smtpd_client_recipient_rate_limit > 0 && is_limited_client()) {
    Anvil anvil = *service_.anvil;
    const std::uint32_t rate = anvil.recipient(service_.name, shown_address());
    if (rate > params_.smtpd_client_recipient_rate_limit) {
      log_.warning(
          fmt::format("Recipient address rate limit exceeded: {} from {} for service {}", rate, namaddr_, service_.name));
      return Reply(450, "4.7.1", "Error: too many recipients from " + shown_address());
    }
  }
  const Word& typed = input.words[2];
  std::optional<std::string> address =
      address_of(typed, current.envelope.smtputf8, false, params_.strict_rfc821_envelopes);
  if (!address) return Reply(501, "5.1.3", "Bad recipient address syntax");
  RcptParameters parameters;
  if (const auto error = parse_rcpt_parameters(input.words, 3, extensions(), parameters)) return to_reply(*error);
  const auto limit = static_cast<std::size_t>(params_.smtpd_recipient_limit);
  if (limit > 0 && current.envelope.recipients.size() >= limit) {
    Reply reply(452, "4.5.3", "Error: too many recipients");
    // Some are let pass without counting as errors: RFC 5321 section 4.5.3.1.10 clients send all at once.
    reply.counts = current.overshoot++ >= static_cast<std::size_t>(params_.smtpd_recipient_overshoot_limit);
    return reply;
  }
  mime::Recipient recipient;
  recipient.original = *address;
  recipient.address = std::move(*address);
  recipient.notify = parameters.notify;
  recipient.orcpt = parameters.orcpt.empty() ? "rfc822;" + encode_xtext(without_brackets(typed.text))
                                             : std::move(parameters.orcpt);
  if (!current.discard) {
    const filter::Verdict verdict = ask(filter::Stage::rcpt, &input, typed.text, 3, &recipient);
    note_outcome(verdict, &recipient);
    if (verdict.refuses()) return refusal(verdict, &recipient);
  }
  if (service_.proxy) {
    if (std::optional<Reply> refused = proxy_recipient(input.line)) return *refused;
  } else if (!open_message("RCPT")) {
    return Reply(451, "4.3.0", "Error: queue file write error");
  }
  if (current.first_recipient.empty()) current.first_recipient = recipient.address;
  current.envelope.recipients.push_back(std::move(recipient));
  return Reply(250, "2.1.5", "Ok");
}

Reply Session::rset(const Input& input) {
  if (input.words.size() != 1) return Reply(501, "5.5.4", "Syntax: RSET");
  end_transaction();
  transcript_.checkpoint();
  chunks_failed_ = false;
  return Reply(250, "2.0.0", "Ok");
}

Reply Session::noop(const Input&) { return Reply(250, "2.0.0", "Ok"); }

Reply Session::quit(const Input&) { return Reply(221, "2.0.0", "Bye", Reply::Then::close); }

Reply Session::auth(const Input& input) {
  if (params_.smtpd_helo_required && facts_.helo_name.empty()) return Reply(503, "5.5.1", "Error: send HELO/EHLO first");
  (void)input;
  return Reply(503, "5.5.1", "Error: authentication not enabled");
}

Reply Session::vrfy(const Input& input) {
  if (params_.disable_vrfy_command) return Reply(502, "5.5.1", "VRFY command is disabled");
  if (input.words.size() < 2) return Reply(501, "5.5.4", "Syntax: VRFY address [SMTPUTF8]");
  if (const std::optional<Reply> standing = standing_refusal()) return *standing;
  std::string_view argument = input.argument(1);
  bool smtputf8 = false;
  if (input.words.size() > 2 && iequals(input.words.back().text, "SMTPUTF8") && extensions().smtputf8) {
    smtputf8 = true;
    argument = trim(argument.substr(0, argument.size() - 8));
  }
  const std::optional<std::string> address = address_of({std::string(argument), false}, smtputf8, false, false);
  if (!address) return Reply(501, "5.1.3", "Bad recipient address syntax");
  mime::Recipient recipient;
  recipient.address = recipient.original = *address;
  const filter::Verdict verdict = ask(filter::Stage::vrfy, &input, argument, input.words.size(), &recipient);
  if (verdict.refuses()) return refusal(verdict, &recipient);
  return Reply(252, "2.0.0", argument);
}

Reply Session::etrn(const Input& input) {
  // RFC 1985 is older than enhanced status codes.
  if (params_.smtpd_helo_required && facts_.helo_name.empty()) return Reply(503, "", "Error: send HELO/EHLO first");
  if (const std::optional<Reply> standing = standing_refusal()) return *standing;
  if (transaction_ && transaction_->begun) return Reply(503, "", "Error: MAIL transaction in progress");
  if (input.words.size() != 2) return Reply(500, "", "Syntax: ETRN domain");
  std::string_view domain = input.words[1].text;
  if (domain.front() == '@' || domain.front() == '#') domain.remove_prefix(1);
  const bool literal = domain.size() > 2 && domain.front() == '[' && domain.back() == ']';
  if (literal ? !is_ip_address(domain.substr(1, domain.size() - 2)) : !is_host_name(domain)) {
    return Reply(501, "", "Error: invalid parameter syntax");
  }
  const filter::Verdict verdict = ask(filter::Stage::etrn, &input, domain, 2);
  if (verdict.refuses()) return refusal(verdict);
  const Result<bool> known = service_.flush_domains.matches(lower(domain));
  if (!known) return Reply(458, "", "Unable to queue messages");
  if (!*known) {
    log_.warning(fmt::format("reject: ETRN {}... from {}", domain.substr(0, 100), namaddr_));
    return Reply(459, "", fmt::format("<{}>: service unavailable", domain));
  }
  if (!service_.flush_site || !service_.flush_site(std::string(domain))) {
    return Reply(458, "", "Unable to queue messages");
  }
  return Reply(250, "", "Queuing started");
}

}  // namespace millrace::smtp
