// The milter's connection and its envelope events: see session.h.
#include "core/milter/client.h"

#include <arpa/inet.h>
#include <netdb.h>

#include "core/base/strings.h"
#include "core/milter/session.h"

namespace millrace::milter {
namespace {

using filter::Action;
using filter::Context;
using filter::SessionFacts;
using filter::Stage;
using filter::Verdict;
namespace bits = protocol;

constexpr EventRule kConnectRule{event::kConnect, bits::kNoConnect, bits::kNoReplyConnect, MacroStage::connect};
constexpr EventRule kHeloRule{event::kHelo, bits::kNoHelo, bits::kNoReplyHelo, MacroStage::helo};
constexpr EventRule kMailRule{event::kMail, bits::kNoMail, bits::kNoReplyMail, MacroStage::mail};
constexpr EventRule kRcptRule{event::kRcpt, bits::kNoRcpt, bits::kNoReplyRcpt, MacroStage::rcpt};
constexpr EventRule kDataRule{event::kData, bits::kNoData, bits::kNoReplyData, MacroStage::data, 4};
constexpr EventRule kUnknownRule{event::kUnknown, bits::kNoUnknown, bits::kNoReplyUnknown, MacroStage::unknown, 3};
constexpr EventRule kOptionsRule{event::kOptions, 0, 0, MacroStage::connect};

constexpr auto kAddressLife = std::chrono::seconds(5);
constexpr auto kFarewell = std::chrono::seconds(5);
constexpr auto kOtherProcesses = std::chrono::milliseconds(5);   // pause between looks whether one of theirs is free
constexpr std::size_t kMostIdle = 32;

Deadline after(std::chrono::seconds span) {
  return span.count() == 0 ? Deadline::never() : Deadline::after(span);   // Postfix: 0 is no limit
}

bool is_ip_address(const std::string& text) {
  in6_addr buffer;
  return inet_pton(AF_INET, text.c_str(), &buffer) == 1 || inet_pton(AF_INET6, text.c_str(), &buffer) == 1;
}

Result<std::vector<net::Endpoint>> look_up(const std::string& host, const std::string& port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  if (const int error = getaddrinfo(host.c_str(), port.c_str(), &hints, &list); error != 0) {
    return fail(Errc::not_found, "host or service " + host + ":" + port + " not found: " + gai_strerror(error));
  }
  std::vector<net::Endpoint> out;
  for (const addrinfo* one = list; one != nullptr; one = one->ai_next) {
    char name[NI_MAXHOST], service[NI_MAXSERV];
    if (getnameinfo(one->ai_addr, one->ai_addrlen, name, sizeof name, service, sizeof service,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
      continue;
    }
    if (const auto number = parse_number<std::uint16_t>(service)) out.push_back({name, *number, false});
  }
  freeaddrinfo(list);
  return out;
}

std::uint64_t command_bit(char command) { return std::uint64_t{1} << (command & 63); }

// For the log.
std::string reason(const Error& error) {
  switch (error.code) {
    case Errc::timeout: return "Connection timed out";
    case Errc::closed: return "Application error";   // Postfix's words for an end of file
    case Errc::refused: return error.context.empty() ? "Connection refused" : error.context;
    default: return error.context;
  }
}

}  // namespace

// --- the filter ---------------------------------------------------------------------------------

Milter::Milter(Settings settings, filter::Options filter_options)
    : settings_(std::move(settings)), name_("milter:" + settings_.service), gate_(filter_options.max_connections) {
  options = std::move(filter_options);
}

std::unique_ptr<filter::FilterSession> Milter::open(const filter::SessionFacts&) {
  return std::make_unique<MilterSession>(*this);
}

Result<void> Milter::enter(Deadline deadline) {
  if (auto entered = gate_.enter(deadline); !entered) return entered;
  // The gate keeps order among ours; what others hold is looked at now and then.
  while (shared != nullptr && !shared->enter(options.max_connections, process)) {
    if (deadline.passed() || !net::sleep_until(Deadline::after(kOtherProcesses))) {
      gate_.leave();
      return fail(Errc::timeout, "no connection is free");
    }
  }
  return {};
}

void Milter::leave() {
  if (shared != nullptr) shared->leave(process);
  gate_.leave();
}

std::optional<Milter::Idle> Milter::take_idle() {
  while (!idle_.empty()) {
    Idle idle = std::move(idle_.back());
    idle_.pop_back();
    if (idle.connection->quiet()) return idle;
    idle.connection->close();
    leave();
  }
  return {};
}

void Milter::keep_idle(Idle idle) {
  // Somebody may be waiting for a place, here or in another process.
  const std::size_t inside = shared != nullptr ? shared->connections.load(std::memory_order_relaxed) : gate_.inside();
  const bool wanted = options.max_connections != 0 && inside >= options.max_connections;
  if (wanted || idle_.size() >= kMostIdle) {
    encode(event::kQuit, {}, idle.connection->output());
    (void)idle.connection->flush(Deadline::after(kFarewell));
    idle.connection->close();
    leave();
    return;
  }
  idle_.push_back(std::move(idle));
  if (std::exchange(sweeping_, true)) return;
  const bool swept = net::Loop::current().spawn(net::Stack::session, [self = shared_from_this()] {
    bool awake = true;
    while (!self->idle_.empty() && awake) {
      awake = net::sleep_until({self->idle_.front().until}).has_value();
      while (!self->idle_.empty() && (!awake || self->idle_.front().until <= SteadyClock::now())) {
        const Idle old = std::move(self->idle_.front());
        self->idle_.erase(self->idle_.begin());
        encode(event::kQuit, {}, old.connection->output());
        (void)old.connection->flush(Deadline::after(kFarewell));
        old.connection->close();
        self->leave();
      }
    }
    self->sweeping_ = false;
  }).has_value();
  if (!swept) sweeping_ = false;
}

Result<std::vector<net::Endpoint>> Milter::addresses() {
  if (settings_.is_unix) return std::vector<net::Endpoint>{{settings_.path, 0, true}};
  const auto port = parse_number<std::uint16_t>(settings_.port);
  if (port && is_ip_address(settings_.host)) return std::vector<net::Endpoint>{{settings_.host, *port, false}};
  if (!addresses_until_.passed() && !addresses_.empty()) return addresses_;
  auto found = net::offload([this] { return look_up(settings_.host, settings_.port); });
  if (found) {
    addresses_ = *found;
    addresses_until_ = Deadline::after(kAddressLife);
  }
  return found;
}

Result<std::unique_ptr<net::Stream>> Milter::connect(Deadline deadline) {
  if (settings_.connector) return settings_.connector(deadline);
  const auto list = addresses();
  if (!list) return tl::unexpected(list.error());
  Error last{Errc::not_found, "no address"};
  for (const net::Endpoint& endpoint : *list) {
    auto stream = net::connect(endpoint, {}, deadline);
    if (stream) return stream;
    last = stream.error();
  }
  return tl::unexpected(std::move(last));
}

std::shared_ptr<filter::Filter> make_milter(Settings settings, filter::Options options) {
  return std::make_shared<Milter>(std::move(settings), std::move(options));
}

// --- the connection -----------------------------------------------------------------------------

MilterSession::~MilterSession() {
  if (connection_) {
    // A connection that could be passed on was, by the stage "close": this session was cut off.
    encode(event::kQuit, {}, connection_->output());
    net::Loop* const loop = net::Loop::current_or_null();
    // A destructor must not wait: the farewell has a fiber of its own.
    const bool leaving = loop != nullptr && loop->spawn(net::Stack::session, [connection = connection_] {
      (void)connection->flush(Deadline::after(kFarewell));
      connection->close();
    });
    if (!leaving) connection_->close();
    connection_.reset();
  }
  hang_up();
}

bool MilterSession::pass_on() {
  if (!settings_.pool || state_ != State::live || options_.version < 6 || !late_failure_.empty()) return false;
  if (transaction_) encode(event::kAbort, {}, connection_->output());
  encode(event::kNextSession, {}, connection_->output());
  if (!connection_->flush(Deadline::after(kFarewell))) return false;
  in_gate_ = false;   // its place goes with it
  filter_.keep_idle({std::exchange(connection_, nullptr), options_, SteadyClock::now() + settings_.pool_idle});
  return true;
}

void MilterSession::quit() {
  if (!connection_ || pass_on()) return;
  encode(event::kQuit, {}, connection_->output());
  (void)connection_->flush(Deadline::after(kFarewell));
  hang_up();
}

void MilterSession::hang_up() {
  if (connection_) connection_->close();
  connection_.reset();
  if (std::exchange(in_gate_, false)) filter_.leave();
}

Deadline MilterSession::deadline(const Context& context) const { return after(timeout_).earlier(context.deadline); }

Verdict MilterSession::ensure_open(Context& context) {
  if (!late_failure_.empty()) {
    return broken(nullptr, std::exchange(late_failure_, {}));
  }
  if (state_ != State::fresh) return {};
  timeout_ = settings_.command_timeout;
  const Deadline until = after(settings_.connect_timeout).earlier(context.deadline);
  if (auto idle = settings_.pool ? filter_.take_idle() : std::nullopt) {
    connection_ = std::move(idle->connection);
    options_ = std::move(idle->options);
    in_gate_ = true;
    state_ = State::live;
    agree();
    return {};
  }
  if (auto entered = filter_.enter(until); !entered) {
    return broken(nullptr, label() + ": all of its " + std::to_string(filter_.options.max_connections) +
                               " connections are in use");
  }
  in_gate_ = true;
  auto stream = filter_.connect(until);
  if (!stream) {
    return broken(nullptr, "connect to Milter service " + settings_.service + ": " + reason(stream.error()));
  }
  connection_ = std::make_shared<Connection>(std::move(*stream));
  state_ = State::live;
  return negotiate(context);
}

Verdict MilterSession::negotiate(Context& context) {
  const Options offer{settings_.version, kAllActions, protocol_bits(settings_.version), {}};
  encode_options(offer, connection_->output());
  if (auto sent = connection_->flush(deadline(context)); !sent) {
    return broken(&kOptionsRule, label() + ": can't write SMFIC_OPTNEG packet: " + reason(sent.error()));
  }
  const auto packet = connection_->read(deadline(context));
  if (!packet) {
    return broken(&kOptionsRule,
                  label() + ": can't read SMFIC_OPTNEG reply packet header: " + reason(packet.error()));
  }
  auto wanted = packet->command == event::kOptions ? decode_options(packet->data) : std::nullopt;
  if (!wanted) return broken(&kOptionsRule, label() + ": malformed answer to option negotiation");
  if (wanted->version < 2 || wanted->version > offer.version) {
    return broken(&kOptionsRule, label() + ": wants protocol version " + std::to_string(wanted->version) +
                                     ", which was not offered");
  }
  if ((wanted->actions & ~offer.actions) != 0) {
    return broken(&kOptionsRule, label() + ": wants actions that were not offered");
  }
  options_ = std::move(*wanted);
  agree();
  return {};
}

// What was negotiated, now or by the session that had the connection before.
void MilterSession::agree() {
  options_.protocol &= protocol_bits(options_.version);   // bits nobody offered mean nothing
  if (settings_.no_header_reply) options_.protocol |= bits::kNoReplyHeader;
  for (std::size_t stage = 0; stage < kMacroStages; ++stage) {
    if (options_.macros[stage]) own_lists_[stage] = parse_macro_names(*options_.macros[stage]);
  }
}

// --- one event ----------------------------------------------------------------------------------

bool MilterSession::begin(const EventRule& rule, Context& context) {
  if (options_.version < rule.since || skipped_ == rule.command) return false;
  // Macros go out also before an event the filter did not want, as Postfix does; not when there are none
  // and the filter knows of none.
  const auto stage = static_cast<std::size_t>(rule.macros);
  const auto& names = own_lists_[stage].empty() ? settings_.macros.lists[stage] : own_lists_[stage];
  std::string packet;
  const bool any = encode_macros(settings_.macros, names, rule.command, context, rule.macros, packet);
  const std::uint64_t bit = command_bit(rule.command);
  if (any || (had_macros_ & bit) != 0) connection_->output() += packet;
  had_macros_ = any ? had_macros_ | bit : had_macros_ & ~bit;
  skipped_ = 0;
  if (has(rule.unwanted)) return false;
  return true;
}

Verdict MilterSession::finish(const EventRule& rule, Context& context, filter::Journal* journal) {
  const bool unanswered = has(rule.unanswered);
  const Result<void> sent = unanswered ? connection_->flush_if_large(deadline(context))
                                       : connection_->flush(deadline(context));
  if (!sent) {
    return broken(&rule, label() + ": can't write " + std::string(event_name(rule.command)) +
                             " packet: " + reason(sent.error()));
  }
  return unanswered ? Verdict() : read_answer(rule, context, journal);
}

Verdict MilterSession::read_answer(const EventRule& rule, Context& context, filter::Journal* journal) {
  for (;;) {
    const auto packet = connection_->read(deadline(context));   // progress restarts the clock
    if (!packet) {
      return broken(&rule, label() + ": can't read " + std::string(event_name(rule.command)) +
                               " reply packet header: " + reason(packet.error()));
    }
    Verdict problem;
    if (journal != nullptr && take_edit(*packet, context, *journal, problem)) {
      if (problem.stops() || !problem.failure.empty() || state_ == State::dead) return problem;
      continue;
    }
    bool final = true;
    Verdict verdict = answer(rule, context, *packet, final);
    if (final) return verdict;
  }
}

Verdict MilterSession::answer(const EventRule& rule, Context& context, const Packet& packet, bool& final) {
  const bool at_session = rule.command == event::kConnect || rule.command == event::kHelo;
  const auto unexpected = [&](std::string_view what) {
    return broken(&rule, label() + ": " + std::string(what) + " after event " + std::string(event_name(rule.command)));
  };
  if (packet.command == answer::kReplyCode) {
    auto reply = parse_reply_text(packet.data);
    if (!reply) {
      const std::string_view text = packet.data.substr(0, packet.data.find('\0'));
      return misconfigured(context, rule, "malformed reply: " + printable(text.substr(0, 100)));
    }
    return refuse(rule, Verdict::reply(reply->code, std::move(reply->enhanced), std::move(reply->text)));
  }
  if (packet.command == answer::kQuarantine) {
    const std::string_view text = packet.data.substr(0, packet.data.find('\0'));
    if (at_session || !transaction_) return unexpected("unexpected filter response SMFIR_QUARANTINE");
    quarantined_ = true;
    quarantine_reason_ = printable(text.substr(0, 200));
    final = false;
    return {};
  }
  if (!packet.data.empty()) {
    return unexpected("unexpected filter response " + std::string(answer_name(packet.command)));
  }
  switch (packet.command) {
    case answer::kContinue: return rule.command == event::kEndOfMessage ? hold() : Verdict();
    case answer::kProgress: final = false; return {};
    case answer::kSkip:
      skipped_ = rule.command;
      return rule.command == event::kEndOfMessage ? hold() : Verdict();
    case answer::kReject: return refuse(rule, Verdict::reply(550, "5.7.1", "Command rejected"));
    case answer::kTempfail:
      return refuse(rule, Verdict::reply(451, "4.7.1", "Service unavailable - try again later"));
    case answer::kShutdown: {
      Verdict verdict = refuse(rule, Verdict::reply(421, "4.7.0", "Server closing connection"));
      hang_up();   // Postfix says no farewell then
      return verdict;
    }
    case answer::kAccept: {
      if (at_session) {
        state_ = State::accepted;
        hang_up();
      }
      settled_ = true;
      Verdict verdict = hold();
      if (!verdict.stops()) verdict.action = Action::accept;
      return verdict;
    }
    case answer::kDiscard: {
      if (at_session || !transaction_) {
        if (context.log != nullptr) {
          context.log->warning(label() + ": DISCARD action is not allowed for connect or helo");
        }
        return {};
      }
      settled_ = true;
      Verdict verdict;
      verdict.action = Action::discard;
      verdict.text = "milter triggers DISCARD action";
      verdict.reason_id = "milter-discard";
      return verdict;
    }
    default: return unexpected("unexpected filter response " + std::string(answer_name(packet.command)));
  }
}

// A refusal.  Of a session it holds to its end, and the filter is not asked again.
Verdict MilterSession::refuse(const EventRule& rule, Verdict verdict) {
  verdict.reason_id = "milter-reject";
  if (rule.command == event::kConnect || rule.command == event::kHelo) {
    verdict.sticky = true;
    standing_ = verdict;
    session_refused_ = true;
    state_ = State::dead;
    hang_up();
  } else if (rule.command != event::kRcpt && rule.command != event::kData && rule.command != event::kUnknown) {
    settled_ = true;
  }
  return verdict;
}

Verdict MilterSession::broken(const EventRule* rule, std::string what) {
  hang_up();
  state_ = State::dead;
  Verdict verdict = Verdict::fail(std::move(what));
  verdict.sticky = rule == nullptr ? !greeted_ : rule->command == event::kConnect || rule->command == event::kHelo ||
                                                     rule->command == event::kOptions;
  return verdict;
}

Verdict MilterSession::misconfigured(Context& context, const EventRule& rule, std::string what) {
  if (context.log != nullptr) context.log->warning(label() + ": " + what);
  hang_up();
  state_ = State::dead;
  misconfigured_ = true;
  const bool of_session = rule.command == event::kConnect || rule.command == event::kHelo;
  Verdict verdict = standing(of_session ? Stage::connect : transaction_ ? Stage::eom : Stage::unknown, context);
  // What went wrong with the content of one message is for later ones a filter that is gone.
  misconfigured_ = timeout_ != settings_.content_timeout || !transaction_;
  verdict.facts.emplace_back("failure", std::move(what));
  return verdict;
}

// Postfix tells a filter that fails from one that asks for the impossible by the code alone.
Verdict MilterSession::standing(Stage stage, const Context& context) const {
  if (session_refused_) return standing_;
  Verdict verdict = filter_.options.failure_action(filter::traffic_of(stage, context));
  if (misconfigured_ && verdict.refuses()) {
    verdict = Verdict::reply(verdict.code == 421 ? 421 : 451, "4.3.5", "Server configuration problem - try again later");
    verdict.reason_id = "milter-reject";
  }
  verdict.sticky = verdict.refuses() && (stage == Stage::connect || stage == Stage::helo);
  return verdict;
}

Verdict MilterSession::hold() const {
  Verdict verdict;
  if (!quarantined_) return verdict;
  verdict.action = Action::quarantine;
  verdict.text = quarantine_reason_.empty() ? "milter triggers HOLD action" : quarantine_reason_;
  verdict.reason_id = "milter-hold";
  return verdict;
}

// --- envelope -----------------------------------------------------------------------------------

Verdict MilterSession::greet(Context& context) {
  if (!begin(kConnectRule, context)) return {};
  const SessionFacts& facts = context.session;
  const bool is_local = facts.client_address.empty();
  {
    PacketWriter packet(connection_->output(), event::kConnect);
    if (is_local) {
      packet.text("localhost").byte('L').u16(0).text("");
    } else {
      // An unverified name is no name: filters get the address in brackets, as from Postfix and Sendmail.
      const bool is_named = facts.client_name != "unknown";
      packet.text(is_named ? facts.client_name : "[" + facts.client_address + "]");
      packet.byte(facts.client_address.find(':') == std::string::npos ? '4' : '6');
      packet.u16(parse_number<std::uint16_t>(facts.client_port).value_or(0)).text(facts.client_address);
    }
  }
  return finish(kConnectRule, context);
}

Verdict MilterSession::hello(Context& context, std::string_view name) {
  greeted_ = true;
  if (!begin(kHeloRule, context)) return {};
  PacketWriter(connection_->output(), event::kHelo).text(name);
  return finish(kHeloRule, context);
}

bool MilterSession::wants_rejected() const { return state_ == State::live && has(bits::kRejectedRcpt); }

Verdict MilterSession::at(Stage stage, Context& context) {
  if (stage == Stage::vrfy || stage == Stage::etrn) return {};
  if (state_ == State::fresh || !late_failure_.empty()) {
    if (Verdict verdict = ensure_open(context); !verdict.failure.empty()) return verdict;
    if (Verdict verdict = greet(context); verdict.action != Action::proceed || !verdict.failure.empty()) return verdict;
    // A filter that joins late learns what it missed.
    if (stage != Stage::connect && stage != Stage::helo && !context.session.helo_name.empty()) {
      Verdict verdict = hello(context, context.session.helo_name);
      if (verdict.action != Action::proceed || !verdict.failure.empty()) return verdict;
    }
    if (stage == Stage::connect) return {};
  }
  if (state_ == State::dead) return standing(stage, context);
  if (state_ != State::live || settled_) return {};

  const auto with_path = [&](const EventRule& rule) {
    if (!begin(rule, context)) return Verdict();
    {
      PacketWriter packet(connection_->output(), rule.command);
      packet.text(context.typed);
      for (const std::string_view parameter : context.parameters) packet.text(parameter);
    }
    return finish(rule, context);
  };
  switch (stage) {
    case Stage::helo: return hello(context, context.typed);
    case Stage::mail:
      transaction_ = true;
      return with_path(kMailRule);
    case Stage::rcpt: {
      Verdict verdict = with_path(kRcptRule);
      if (!context.rejected) return verdict;
      // Told for its information: what it says of a recipient that is refused anyway rules nothing.
      if (state_ == State::live) settled_ = false;
      return verdict.failure.empty() ? Verdict() : verdict;
    }
    case Stage::data:
      if (!begin(kDataRule, context)) return {};
      encode(event::kData, {}, connection_->output());
      return finish(kDataRule, context);
    case Stage::unknown: {
      if (!begin(kUnknownRule, context)) return {};
      std::string_view line = context.typed;
      PacketWriter(connection_->output(), event::kUnknown).text(take_word(line));   // Postfix 3.7: the verb alone
      return finish(kUnknownRule, context);
    }
    default: return {};
  }
}

void MilterSession::abort() {
  if (transaction_ && connection_) {
    encode(event::kAbort, {}, connection_->output());
    // After a whole message nobody waits for it: it leaves together with the next event.
    if (!content_done_) {
      if (auto sent = connection_->flush(Deadline::after(kFarewell)); !sent) {
        late_failure_ = label() + ": can't write SMFIC_ABORT packet: " + reason(sent.error());
      }
    }
  }
  transaction_ = settled_ = content_done_ = quarantined_ = streamed_ = false;
  stream_piece_.clear();
  body_macros_.reset();
  asked_ = {};
  quarantine_reason_.clear();
  skipped_ = 0;
}

}  // namespace millrace::milter
