// One milter connection: see conversation.h.
#include "core/milterd/conversation.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "core/base/strings.h"
#include "core/milter/wire.h"
#include "core/milterd/edits.h"
#include "core/milterd/events.h"
#include "core/rewrite/router.h"

namespace millrace::milterd {

using filter::Action;
using filter::Stage;
using filter::Verdict;
namespace event = milter::event;
namespace reply = milter::answer;
namespace bits = milter::protocol;

namespace {

constexpr std::size_t kMostParameters = 100;

// What the filters may want to know, beyond what MTAs send of themselves.
constexpr std::pair<milter::MacroStage, const char*> kWantedMacros[] = {
    {milter::MacroStage::connect, "j _ v {daemon_name} {daemon_addr} {daemon_port} {client_name} {client_ptr} {client_resolve} {client_port}"},
    {milter::MacroStage::helo, "{tls_version} {cipher} {cipher_bits} {cert_subject} {cert_issuer}"},
    {milter::MacroStage::mail, "i {auth_type} {auth_authen} {auth_author} {mail_mailer} {mail_host} {mail_addr}"},
    {milter::MacroStage::rcpt, "i {rcpt_mailer} {rcpt_host} {rcpt_addr}"},
    {milter::MacroStage::data, "i"},
    {milter::MacroStage::end_of_headers, "i"},
    {milter::MacroStage::end_of_message, "i"}};

// A path as the client gave it to the MTA.
std::string bare_address(std::string_view path) {
  if (path.starts_with('<') && path.ends_with('>')) path = path.substr(1, path.size() - 2);
  return rewrite::unquote_local(path);
}

filter::SessionFacts::NameStatus name_status(std::string_view word, std::string_view name) {
  using Status = filter::SessionFacts::NameStatus;
  if (word == "FORGED") return Status::forged;
  if (word == "TEMP") return Status::temporary;
  if (word == "FAIL" || name.empty() || name == "unknown" || name.starts_with('[')) return Status::not_found;
  return Status::ok;
}

}  // namespace

Conversation::Conversation(Door& door, std::unique_ptr<net::Stream> stream)
    : door_(door), stream_(stream.get()), connection_(std::move(stream)), log_(door.log_) {}
Conversation::~Conversation() = default;

void Conversation::run() {
  if (negotiate()) {
    for (;;) {
      const bool idle = transaction_ == nullptr;
      if (idle && door_.draining_) break;
      if (idle) door_.idle_.insert(stream_);
      // An MTA keeps the connection as long as its client keeps its own: no limit but the peer's.
      const auto packet = connection_.read(Deadline::never());
      if (idle) door_.idle_.erase(stream_);
      if (!packet) {
        const Errc code = packet.error().code;
        if (code != Errc::closed && code != Errc::canceled) log_.warning("milter connection ends: " + packet.error().context);
        break;
      }
      if (packet->command == event::kQuit || !take(*packet)) break;
      if (!connection_.flush(Deadline::after(kWriteTime))) break;
    }
  }
  end_session();
  connection_.close();
}

bool Conversation::negotiate() {
  const auto packet = connection_.read(Deadline::after(kWriteTime));
  if (!packet) return false;   // somebody looks whether we are there
  const auto offered = packet->command == event::kOptions ? milter::decode_options(packet->data) : std::nullopt;
  if (!offered || offered->version < 2) return malformed(*packet);
  version_ = std::min<std::uint32_t>(offered->version, 6);
  actions_ = offered->actions & milter::kAllActions;
  milter::Options options;
  options.version = version_;
  options.actions = actions_;
  // Content is looked at as a whole: its pieces need no answers.
  options.protocol = offered->protocol & milter::protocol_bits(version_) &
                     (bits::kNoReplyHeader | bits::kNoReplyEndOfHeaders | bits::kNoReplyBody | bits::kLeadingSpace);
  protocol_ = options.protocol;
  if ((actions_ & action::kMacroLists) != 0) {
    for (const auto& [stage, names] : kWantedMacros) options.macros[static_cast<std::size_t>(stage)] = names;
  }
  milter::encode_options(options, connection_.output());
  return connection_.flush(Deadline::after(kWriteTime)).has_value();
}

bool Conversation::malformed(const milter::Packet& packet) {
  log_.warning(fmt::format("milter connection ends: malformed {} packet", milter::event_name(packet.command)));
  return false;
}

bool Conversation::take(const milter::Packet& packet) {
  bool good = true;
  switch (packet.command) {
    case event::kMacros: good = macros(packet.data); break;
    case event::kConnect: good = connect(packet.data); break;
    case event::kHelo: good = helo(packet.data); break;
    case event::kMail: good = mail(packet.data); break;
    case event::kRcpt: good = rcpt(packet.data); break;
    case event::kData: answer(Stage::data, transaction().discard ? Verdict() : ask(Stage::data, "DATA", "")); break;
    case event::kHeader: good = header(packet.data); break;
    case event::kEndOfHeaders:
      if ((protocol_ & bits::kNoReplyEndOfHeaders) == 0) answer(reply::kContinue);
      break;
    case event::kBody:
      body(packet.data);
      if ((protocol_ & bits::kNoReplyBody) == 0) answer(reply::kContinue);
      break;
    case event::kEndOfMessage: good = end_of_message(packet.data); break;
    case event::kUnknown: {
      const std::string line(packet.data.substr(0, packet.data.find('\0')));
      answer(Stage::unknown, ask(Stage::unknown, line, line));
      break;
    }
    case event::kAbort: end_transaction(); break;
    case event::kNextSession: end_session(); break;
    default: good = false;
  }
  return good || malformed(packet);
}

// --- what is known ------------------------------------------------------------------------------

bool Conversation::macros(std::string_view data) {
  if (data.empty()) return false;
  auto found = parse_macros(data.substr(1));
  if (!found) return false;
  const char of = data.front();
  if (std::string_view("CHMRTULNBE").find(of) != std::string_view::npos) macros_[of] = std::move(*found);
  return true;
}

// The latest event that has it: what came with the connection holds for its messages.
std::string_view Conversation::macro(std::string_view name) const {
  for (const char of : std::string_view("EBNLTRMUHC")) {
    const auto at = macros_.find(of);
    if (at == macros_.end()) continue;
    if (const auto found = at->second.find(name); found != at->second.end()) return found->second;
  }
  return {};
}

void Conversation::learn() {
  filter::SessionFacts& facts = session().facts;
  facts.server_address = macro("{daemon_addr}");
  facts.server_port = macro("{daemon_port}");
  facts.sasl_method = macro("{auth_type}");
  facts.sasl_username = macro("{auth_authen}");
  facts.sasl_sender = macro("{auth_author}");
  if (const std::string_view version = macro("{tls_version}"); !version.empty() && !facts.tls) {
    net::TlsInfo tls;
    tls.protocol = version;
    tls.cipher = macro("{cipher}");
    tls.bits = tls.algorithm_bits = parse_number<std::uint16_t>(macro("{cipher_bits}")).value_or(0);
    tls.peer_subject = macro("{cert_subject}");
    tls.peer_issuer = macro("{cert_issuer}");
    facts.tls = std::move(tls);
  }
  if (transaction_ == nullptr) return;
  mime::Envelope& envelope = transaction_->envelope;
  if (const std::string_view id = macro("i"); !id.empty()) envelope.queue_id = printable(id.substr(0, 64));
  envelope.client_address = facts.client_address;
  envelope.client_name = facts.client_name;
  envelope.reverse_client_name = facts.reverse_client_name;
  envelope.client_port = facts.client_port;
  envelope.helo_name = facts.helo_name;
  envelope.protocol = facts.protocol;
  envelope.sasl_method = facts.sasl_method;
  envelope.sasl_username = facts.sasl_username;
  envelope.sasl_sender = facts.sasl_sender;
}

Conversation::Session& Conversation::session() {
  if (session_ == nullptr) {
    session_ = std::make_unique<Session>(door_.chain_, log_);
    session_->facts.service = "milter";
    session_->facts.protocol = "ESMTP";
  }
  return *session_;
}

Conversation::Transaction& Conversation::transaction() {
  if (transaction_ == nullptr) {
    transaction_ = std::make_unique<Transaction>(door_.options_.spool_directory);
    transaction_->envelope.arrival = wall_now();
  }
  return *transaction_;
}

void Conversation::end_transaction() {
  if (session_ != nullptr && transaction_ != nullptr) session_->filters.abort();
  transaction_.reset();
  for (const char of : std::string_view("MRTULNBE")) macros_.erase(of);
}

void Conversation::end_session() {
  end_transaction();
  if (session_ != nullptr) session_->filters.close();
  session_.reset();
  macros_.clear();
}

// --- envelope -----------------------------------------------------------------------------------

Verdict Conversation::ask(Stage stage, const std::string& command, const std::string& typed,
                          std::vector<std::string_view> parameters, const mime::Recipient* rcpt) {
  learn();
  mime::Envelope none;
  filter::Context context{.session = session().facts, .envelope = transaction_ != nullptr ? transaction_->envelope : none,
                          .rcpt = rcpt, .command = command, .typed = typed, .parameters = std::move(parameters)};
  context.deadline = Deadline::after(door_.options_.event_time);
  context.log = &log_;
  Verdict verdict = session().filters.at(stage, context);
  if (transaction_ != nullptr && !verdict.refuses()) {
    for (std::string& line : context.prepend) transaction_->prepend.push_back(std::move(line));
  }
  return verdict;
}

bool Conversation::connect(std::string_view data) {
  const auto parsed = parse_connect(data);
  if (!parsed) return false;
  auto kept = std::exchange(macros_, {});   // they came ahead of the event
  end_session();
  macros_ = std::move(kept);
  filter::SessionFacts& facts = session().facts;
  const bool is_local = parsed->family == 'L' || parsed->family == 'U';
  facts.client_address = is_local ? std::string_view() : parsed->address;
  facts.client_port = is_local ? "" : std::to_string(parsed->port);
  facts.is_local = parsed->family == 'L';
  const std::string_view name = macro("{client_name}"), reverse = macro("{client_ptr}");
  facts.client_name = !name.empty() ? name : parsed->host.starts_with('[') ? std::string_view("unknown") : parsed->host;
  facts.reverse_client_name = reverse.empty() ? std::string_view(facts.client_name) : reverse;
  facts.name_status = name_status(macro("{client_resolve}"), facts.client_name);
  facts.reverse_name_status = name_status("", facts.reverse_client_name);
  answer(Stage::connect, ask(Stage::connect, "", ""));
  return true;
}

bool Conversation::helo(std::string_view data) {
  const auto name = milter::take_text(data);
  if (!name || !data.empty()) return false;
  session().facts.helo_name = *name;
  answer(Stage::helo, ask(Stage::helo, "EHLO " + std::string(*name), std::string(*name)));
  return true;
}

bool Conversation::mail(std::string_view data) {
  const auto words = parse_texts(data, kMostParameters);
  if (!words || words->empty()) return false;
  auto kept = std::exchange(macros_['M'], {});
  end_transaction();
  macros_['M'] = std::move(kept);
  Transaction& current = transaction();
  current.envelope.sender = bare_address(words->front());
  const std::string command = fmt::format("MAIL FROM:{}", fmt::join(*words, " "));
  for (const std::string_view word : *words) {
    if (istarts_with(word, "SIZE=")) current.envelope.size = parse_number(word.substr(5)).value_or(0);
    if (iequals(word, "SMTPUTF8")) current.envelope.smtputf8 = true;
  }
  answer(Stage::mail, ask(Stage::mail, command, std::string(words->front()), {words->begin() + 1, words->end()}));
  return true;
}

bool Conversation::rcpt(std::string_view data) {
  const auto words = parse_texts(data, kMostParameters);
  if (!words || words->empty()) return false;
  Transaction& current = transaction();
  mime::Recipient recipient;
  recipient.address = recipient.original = bare_address(words->front());
  const std::string command = fmt::format("RCPT TO:{}", fmt::join(*words, " "));
  Verdict verdict = current.discard ? Verdict()
                                    : ask(Stage::rcpt, command, std::string(words->front()), {words->begin() + 1, words->end()}, &recipient);
  if (!verdict.refuses()) {
    current.typed[recipient.address] = words->front();
    current.envelope.recipients.push_back(std::move(recipient));
  }
  answer(Stage::rcpt, verdict);
  return true;
}

void Conversation::answer(char command) { milter::encode(command, {}, connection_.output()); }

void Conversation::answer(Stage stage, const Verdict& verdict) {
  if (verdict.refuses()) {
    const int usual = verdict.action == Action::reject ? 550 : verdict.action == Action::disconnect ? 421 : 451;
    const int code = verdict.code != 0 ? verdict.code : usual;
    const char* const status = code / 100 == 5 ? "5.7.1" : "4.7.1";
    const std::string text = reply_text(code, verdict.enhanced.empty() ? status : verdict.enhanced,
                                        !verdict.text.empty() ? verdict.text : code / 100 == 5 ? "Command rejected" : "Service unavailable - try again later");
    milter::PacketWriter(connection_.output(), reply::kReplyCode).text(text);
    return;
  }
  if (verdict.action == Action::quarantine) {
    transaction().hold = verdict.text.empty() ? kHeld : verdict.text;
  } else if (verdict.action == Action::discard) {
    // Not said before MAIL: the session's filters go on saying it there.
    if (stage == Stage::mail || stage == Stage::rcpt || stage == Stage::data) {
      transaction().discard = true;
      return answer(reply::kDiscard);
    }
  }
  answer(reply::kContinue);
}

}  // namespace millrace::milterd
