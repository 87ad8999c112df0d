// The mail transaction of a ClientSession: MAIL, RCPT, DATA, the text, and what each reply means.
#include <algorithm>
#include <array>

#include "core/base/strings.h"
#include "core/deliver/address.h"
#include "core/deliver/client_session.h"
#include "core/deliver/data_encoder.h"
#include "core/deliver/header_editor.h"
#include "core/deliver/forwarded.h"
#include "core/deliver/output_checks.h"

namespace millrace::deliver {

namespace {
// Commands written before replies are read: less than any socket buffer, so that both sides cannot
// stand and wait for each other (RFC 2920 section 3.1).
constexpr std::size_t kMaxBatch = 8 * 1024;
constexpr std::size_t kPiece = 64 * 1024;
constexpr char kEndOfData[] = "sending end of data -- message may be sent more than once";

Deadline limit(std::chrono::seconds span) { return span.count() == 0 ? Deadline::never() : Deadline::after(span); }

// Text for the wire that came from elsewhere: no byte that could end the line or the word.
std::string one_word(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (static_cast<unsigned char>(c) > ' ' && c != 0x7f) out += c;
  }
  return out;
}
}  // namespace

bool needs_smtputf8(const Attempt& attempt) {
  const queue::Entry& entry = *attempt.entry;
  if (!entry.envelope.smtputf8) return false;
  if (!is_ascii(attempt.sender())) return true;
  for (std::size_t i = 0; i < attempt.recipients.size(); ++i) {
    if (!is_ascii(attempt.recipient(i).address)) return true;
  }
  std::string piece;
  std::string_view head;
  if (attempt.content.memory != nullptr) {
    head = *attempt.content.memory;
  } else if (attempt.content.read_at) {
    piece.resize(kPiece);   // the header section of all but odd messages
    piece.resize(attempt.content.read_at(0, piece).value_or(0));
    head = piece;
  }
  return !is_ascii(head.substr(0, head.find("\r\n\r\n")));
}

std::string ClientSession::path(std::string_view address) const {
  return options_->quote_envelope ? quote_821(address) : one_word(address);
}

Result<std::string> ClientSession::outside(const std::string& address) const {
  return options_->generic ? options_->generic->address(address) : address;
}

std::string ClientSession::mail_command(const queue::Entry& entry, std::string_view sender) const {
  const mime::Envelope& envelope = entry.envelope;
  std::string out = "MAIL FROM:<" + path(sender) + ">";
  if (features_.size) out += " SIZE=" + std::to_string(envelope.size);
  if (features_.eight_bit && envelope.body == mime::BodyType::eight_bit) out += " BODY=8BITMIME";
  if (features_.eight_bit && envelope.body == mime::BodyType::seven_bit) out += " BODY=7BIT";
  if (features_.dsn) {
    if (!envelope.envid.empty()) out += " ENVID=" + one_word(envelope.envid);
    if (envelope.ret != mime::Ret::unset) out += envelope.ret == mime::Ret::full ? " RET=FULL" : " RET=HDRS";
  }
  if (features_.smtputf8 && envelope.smtputf8) out += " SMTPUTF8";
  return out + "\r\n";
}

std::string ClientSession::rcpt_command(const mime::Recipient& recipient, std::string_view address) const {
  std::string out = "RCPT TO:<" + path(address) + ">";
  if (features_.dsn) {
    if (!recipient.orcpt.empty()) {
      out += " ORCPT=" + one_word(recipient.orcpt);
    } else {
      const std::string& original = recipient.original.empty() ? recipient.address : recipient.original;
      out += " ORCPT=rfc822;" + xtext_encode(original);   // as cleanup(8) makes it, not quoted
    }
    std::string notify;
    constexpr std::pair<unsigned, const char*> kWords[] = {{mime::kNotifyNever, "NEVER"}, {mime::kNotifySuccess, "SUCCESS"},
                                                           {mime::kNotifyFailure, "FAILURE"}, {mime::kNotifyDelay, "DELAY"}};
    for (const auto& [bit, word] : kWords) {
      if (recipient.notify & bit) notify += (notify.empty() ? "" : ",") + std::string(word);
    }
    if (!notify.empty()) out += " NOTIFY=" + notify;
  }
  return out + "\r\n";
}

// XFORWARD_README: at most two commands, each with the attributes that the server takes and we know.
std::vector<std::string> ClientSession::xforward_commands(const mime::Envelope& envelope) const {
  std::vector<std::string> out;
  if (!options_->send_xforward) return out;
  const ForwardedClient client = forwarded_client(envelope);
  const std::string ident = envelope.log_ident.empty() ? envelope.queue_id : envelope.log_ident;
  const std::pair<const char*, std::string> attributes[] = {
      {"NAME", client.name},  {"ADDR", client.address}, {"PORT", client.port},      {"PROTO", client.protocol},
      {"HELO", client.helo},  {"IDENT", ident},         {"SOURCE", envelope.source}};
  std::string line;
  for (const auto& [name, value] : attributes) {
    if (std::string_view(name) == "PROTO" && !line.empty()) out.push_back(std::exchange(line, {}) + "\r\n");
    if (value.empty() || std::find(features_.xforward.begin(), features_.xforward.end(), name) == features_.xforward.end()) continue;
    line += (line.empty() ? "XFORWARD " : " ") + std::string(name) + "=" + xtext_encode(value);
  }
  if (!line.empty()) out.push_back(line + "\r\n");
  return out;
}

std::optional<ClientSession::ContentTrouble> ClientSession::send_content(Attempt& attempt) {
  DataEncoder encoder(options_->line_length_limit);
  std::unique_ptr<checks::Rewriter> rewriter;
  if (options_->output_checks) rewriter = options_->output_checks->rewriter(attempt.entry->envelope, features_.eight_bit);
  std::optional<HeaderEditor> editor;
  if (options_->generic) editor.emplace([generic = options_->generic.get()](std::string& field) { return generic->header(field); });
  std::string wire, edited, rewritten;
  const auto ours = [](Error error) { return ContentTrouble{true, std::move(error)}; };
  const auto send = [&]() -> std::optional<ContentTrouble> {
    if (auto sent = stream_->write(wire, limit(options_->data_xfer_timeout)); !sent) return ContentTrouble{false, sent.error()};
    wire.clear();
    return {};
  };
  // Checks, then addresses, then dots: smtp(8)'s order.
  const auto put = [&](std::string_view text) -> Result<void> {
    if (!editor) {
      encoder.encode(text, wire);
      return {};
    }
    auto done = editor->feed(text, edited);
    encoder.encode(edited, wire);
    edited.clear();
    return done;
  };
  const auto encode = [&](std::string_view text) -> Result<void> {
    if (!rewriter) return put(text);
    if (auto done = rewriter->add(text, rewritten); !done) return done;
    auto done = put(rewritten);
    rewritten.clear();
    return done;
  };
  if (attempt.content.memory != nullptr) {
    if (auto done = encode(*attempt.content.memory); !done) return ours(done.error());
  } else {
    std::string piece(kPiece, '\0');
    for (std::uint64_t at = 0; at < attempt.content.size;) {
      const auto got = attempt.content.read_at(at, piece);
      if (!got || *got == 0) return ours({Errc::io, "mail queue file read error"});
      if (auto done = encode(std::string_view(piece).substr(0, *got)); !done) return ours(done.error());
      at += *got;
      if (wire.size() < kPiece) continue;
      if (auto trouble = send()) return trouble;
    }
  }
  if (rewriter) {
    if (auto done = rewriter->finish(rewritten); !done) return ours(done.error());
    if (auto done = put(rewritten); !done) return ours(done.error());
  }
  if (editor) {
    if (auto done = editor->finish(edited); !done) return ours(done.error());
    encoder.encode(edited, wire);
  }
  encoder.finish(wire);
  return send();
}

// One transaction, step by step.  A step is a command whose reply is awaited.
struct ClientSession::Dialog {
  enum class Kind { rset, xforward, mail, rcpt, data };
  struct Step {
    Kind kind;
    std::size_t position;   // of a recipient
  };

  ClientSession& session;
  Attempt& attempt;
  const std::vector<std::size_t>& positions;
  std::string batch;
  std::string sender;
  std::vector<std::string> addresses;   // of `positions`
  std::vector<Step> outstanding;
  std::vector<std::size_t> accepted;
  std::size_t replies = 0;
  bool mail_refused = false, data_go = false, data_refused = false;
  std::optional<Trouble> trouble;   // the connection is gone

  Outcome& outcome(std::size_t position) const { return attempt.outcomes[position]; }

  void stamp(Outcome& to) const {
    to.relay = session.host_.named_with_port();
    to.connection_use = session.uses_;
    to.next_hop_reports = session.features_.dsn;
  }

  void refuse(std::size_t position, const Reply& reply, const char* to_what) const {
    Outcome& out = outcome(position);
    out.status = reply.code / 100 == 5 ? Outcome::Status::bounced : Outcome::Status::deferred;
    out.dsn = reply.dsn;
    if (out.status == Outcome::Status::deferred) out.dsn[0] = '4';   // 2xx where it makes no sense, too
    out.text = "host " + session.host_.named() + " said: " + reply.flat() + " (in reply to " + to_what + ")";
    out.diagnostic = "smtp; " + reply.text;
    out.remote_mta = "dns; " + session.host_.name;
    stamp(out);
  }

  void accept(std::size_t position, const Reply& reply) const {
    Outcome& out = outcome(position);
    out.status = Outcome::Status::sent;
    out.dsn = reply.dsn;
    out.text = reply.flat();
    out.remote_mta = "dns; " + session.host_.name;
    out.diagnostic = "smtp; " + reply.text;
    stamp(out);
  }

  void refuse_all(const std::vector<std::size_t>& which, const Reply& reply, const char* to_what) const {
    for (const std::size_t position : which) refuse(position, reply, to_what);
  }

  bool undecided(std::size_t position) const { return outcome(position).status == Outcome::Status::pending; }

  void lose(const Error& error, const char* doing) {
    if (trouble) return;
    trouble = session.lost(error, doing);
    session.alive_ = false;
  }

  void put(Kind kind, std::size_t position, const std::string& command) {
    batch += command;
    outstanding.push_back({kind, position});
    if (!session.features_.pipelining || batch.size() > kMaxBatch) exchange();
  }

  static const char* doing(Kind kind) {
    switch (kind) {
      case Kind::rset: return "sending RSET";
      case Kind::xforward: return "sending XFORWARD";
      case Kind::mail: return "sending MAIL FROM";
      case Kind::rcpt: return "sending RCPT TO";
      case Kind::data: return "sending DATA command";
    }
    return "";
  }

  std::chrono::seconds timeout(Kind kind) const {
    const ClientOptions& options = *session.options_;
    switch (kind) {
      case Kind::rset: return options.rset_timeout;
      case Kind::xforward: return options.xforward_timeout;
      case Kind::mail: return options.mail_timeout;
      case Kind::rcpt: return options.rcpt_timeout;
      case Kind::data: return options.data_init_timeout;
    }
    return options.mail_timeout;
  }

  // Writes what is collected and takes the replies.
  void exchange() {
    if (outstanding.empty() || trouble) return;
    const Step first = outstanding.front();
    session.trace('>', batch);
    if (auto sent = session.stream_->write(batch, limit(timeout(first.kind))); !sent) return lose(sent.error(), doing(first.kind));
    batch.clear();
    for (const Step& step : outstanding) {
      const auto reply = session.read_reply(timeout(step.kind));
      if (!reply) return lose(reply.error(), doing(step.kind));
      ++replies;
      take(step, *reply);
    }
    outstanding.clear();
  }

  void take(const Step& step, const Reply& reply) {
    switch (step.kind) {
      case Kind::rset:
        break;
      case Kind::xforward:
        if (!reply.positive()) {
          session.warnings_.push_back("host " + session.host_.named() + " said: " + reply.flat() + " (in reply to XFORWARD command)");
        }
        break;
      case Kind::mail:
        if (reply.positive()) {
          session.needs_rset_ = true;
        } else {
          mail_refused = true;
          refuse_all(positions, reply, "MAIL FROM command");
        }
        break;
      case Kind::rcpt:
        if (mail_refused) break;
        if (reply.positive()) {
          accepted.push_back(step.position);
          if (attempt.verify_only()) accept(step.position, reply);
        } else {
          refuse(step.position, reply, "RCPT TO command");
        }
        break;
      case Kind::data:
        if (reply.code / 100 == 3) {
          data_go = true;
        } else {
          data_refused = true;
          if (!mail_refused) refuse_all(accepted, reply, "DATA command");
        }
        break;
    }
  }

  void send_text() {
    attempt.connected = attempt.connected == 0 ? wall_now() : attempt.connected;
    if (accepted.empty()) {
      // Pipelining: the server wants text although it took no recipient.  RFC 2920 section 3.1: a single dot.
      if (auto sent = session.stream_->write(".\r\n", limit(session.options_->data_xfer_timeout)); !sent) {
        return lose(sent.error(), "sending message body");
      }
      if (const auto reply = session.read_reply(session.options_->data_done_timeout); !reply) {
        return lose(reply.error(), kEndOfData);
      }
      session.needs_rset_ = false;
      return;
    }
    if (const auto failed = session.send_content(attempt)) {
      if (!failed->ours) return lose(failed->error, "sending message body");
      session.alive_ = false;
      session.stream_->close();   // without the final dot, or half a message would count as whole
      const bool hopeless = failed->error.code == Errc::protocol;   // it can never be sent there
      for (const std::size_t position : accepted) {
        outcome(position).status = hopeless ? Outcome::Status::bounced : Outcome::Status::deferred;
        outcome(position).dsn = hopeless ? "5.6.0" : "4.3.0";
        outcome(position).text = failed->error.context;
      }
      return;
    }
    session.trace('>', ".");
    // LMTP answers once for each recipient (RFC 2033 section 4.2), SMTP once for all.
    const std::size_t wanted = session.options_->lmtp ? accepted.size() : 1;
    for (std::size_t i = 0; i < wanted; ++i) {
      const auto reply = session.read_reply(session.options_->data_done_timeout);
      if (!reply) return lose(reply.error(), kEndOfData);
      for (std::size_t k = session.options_->lmtp ? i : 0; k < (session.options_->lmtp ? i + 1 : accepted.size()); ++k) {
        if (!reply->positive()) {
          refuse(accepted[k], *reply, "end of DATA command");
          continue;
        }
        accept(accepted[k], *reply);
      }
    }
    session.needs_rset_ = false;
  }

  // The envelope as it is called outside.  False: a table failed, which is said in every outcome.
  bool map_envelope() {
    auto mapped = session.outside(attempt.sender());
    if (mapped) sender = std::move(*mapped);
    for (std::size_t i = 0; mapped && i < positions.size(); ++i) {
      mapped = session.outside(attempt.recipient(positions[i]).address);
      if (mapped) addresses.push_back(std::move(*mapped));
    }
    if (mapped) return true;
    for (const std::size_t position : positions) {
      Outcome& out = outcome(position);
      out.status = Outcome::Status::deferred;
      out.dsn = "4.3.0";
      out.text = mapped.error().context;
      stamp(out);
    }
    return false;
  }

  End run() {
    if (!map_envelope()) return End::answered;
    const bool reused = session.uses_ > 1;
    if (session.needs_rset_) put(Kind::rset, 0, "RSET\r\n");
    session.needs_rset_ = false;
    for (const std::string& command : session.xforward_commands(attempt.entry->envelope)) put(Kind::xforward, 0, command);
    put(Kind::mail, 0, session.mail_command(*attempt.entry, sender));
    for (std::size_t at = 0; at < positions.size(); ++at) {
      const std::size_t position = positions[at];
      if (trouble || mail_refused) break;
      put(Kind::rcpt, position, session.rcpt_command(attempt.recipient(position), addresses[at]));
    }
    // Behind a batch whose replies are known, DATA is only sent when somebody is to get the text.
    const bool hopeless = outstanding.empty() && (mail_refused || accepted.empty());
    if (!trouble && attempt.verify_only()) {
      exchange();   // the next transaction, if any, begins with RSET
    } else if (!trouble && !hopeless) {
      put(Kind::data, 0, "DATA\r\n");
      exchange();
    }
    if (!trouble && data_go) send_text();
    if (!trouble) return End::answered;
    if (reused && replies == 0) return End::stale;
    attempt.site_trouble = true;
    for (const std::size_t position : positions) {
      if (!undecided(position)) continue;
      Outcome& out = outcome(position);
      out.status = Outcome::Status::deferred;
      out.dsn = trouble->dsn;
      out.text = trouble->text;
      stamp(out);
    }
    return End::answered;
  }
};

ClientSession::End ClientSession::transfer(Attempt& attempt, const std::vector<std::size_t>& positions) {
  const queue::Entry& entry = *attempt.entry;
  const auto all = [&](const std::string& dsn, const std::string& text) {
    for (const std::size_t position : positions) {
      Outcome& out = attempt.outcomes[position];
      out.status = Outcome::Status::bounced;
      out.dsn = dsn;
      out.text = text;
      out.relay = host_.named_with_port();
    }
    return End::answered;
  };
  if (features_.size_limit > 0 && entry.envelope.size > features_.size_limit) {
    return all("5.3.4", "message size " + std::to_string(entry.envelope.size) + " exceeds size limit " +
                            std::to_string(features_.size_limit) + " of server " + host_.named());
  }
  if (!features_.smtputf8 && needs_smtputf8(attempt)) {
    return all("5.6.7", "SMTPUTF8 is required, but was not offered by host " + host_.named());
  }
  ++uses_;
  return Dialog{*this, attempt, positions, {}, {}, {}, {}, {}}.run();
}

}  // namespace millrace::deliver
