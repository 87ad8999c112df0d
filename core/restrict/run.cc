// The walker, the stages and the replies: see run.h.  Rules as in Postfix's SMTPD_ACCESS_README and
// smtpd(8).
#include "core/restrict/run.h"

#include <algorithm>
#include <mutex>
#include <set>

#include "core/base/strings.h"

namespace millrace::restrict {

using filter::Action;
using filter::Stage;
using filter::Verdict;

namespace {

constexpr std::size_t kMaxDepth = 100;        // of lists within lists
constexpr std::size_t kMaxReply = 4096;       // Postfix does not cut what a policy service says
constexpr std::string_view kClient = "Client host", kHelo = "Helo command", kSender = "Sender address",
                           kRecipient = "Recipient address";

}  // namespace

Run::Run(const Rules& rules, SessionState& state, filter::Context& context, Stage stage, const mime::Message* message)
    : rules_(rules),
      params_(*rules.environment.params),
      state_(state),
      context_(context),
      stage_(stage),
      message_(message) {
  helo_ = stage == Stage::helo ? std::string(context.typed) : context.session.helo_name;
  if (stage != Stage::helo) state.protocol = context.session.protocol;
  protocol_ = state.protocol;
  const mime::Envelope& envelope = context.envelope;
  const bool has_sender = state.has_sender || stage == Stage::mail || stage == Stage::rcpt || stage == Stage::data ||
                          stage == Stage::eom;
  if (has_sender) sender_ = envelope.sender;
  if (context.rcpt != nullptr) {
    recipient_ = context.rcpt->address;
  } else if ((stage == Stage::data || stage == Stage::eom) && envelope.recipients.size() == 1) {
    recipient_ = envelope.recipients[0].address;   // of many, none: what is said applies to all alike
  }
}

// Which lists this command has, for the view ahead.
void Run::plan() {
  const bool delayed = params_.smtpd_delay_reject;
  lists_.clear();
  if (stage_ != Stage::rcpt && stage_ != Stage::vrfy && stage_ != Stage::etrn) return;
  if (delayed) {
    lists_.push_back(&rules_.client);
    if (!helo_.empty()) lists_.push_back(&rules_.helo);
    if (sender_ && stage_ != Stage::etrn) lists_.push_back(&rules_.sender);
    if (params_.smtpd_reject_unlisted_sender) lists_.push_back(nullptr);
  }
  if (stage_ == Stage::etrn) {
    lists_.push_back(&rules_.etrn);
  } else {
    lists_.push_back(&rules_.relay);
    lists_.push_back(&rules_.recipient);
    if (!params_.smtpd_relay_before_recipient_restrictions) std::swap(lists_.back(), *(lists_.end() - 2));
  }
}

Verdict Run::evaluate() {
  const bool delayed = params_.smtpd_delay_reject;
  plan();
  Status status = Status::dunno;
  switch (stage_) {
    case Stage::connect:
      if (!delayed) status = client_list();
      break;
    case Stage::helo:
      if (!delayed) status = helo_list();
      break;
    case Stage::mail:
      if (!delayed) status = sender_list();
      break;
    case Stage::rcpt:
    case Stage::vrfy:
      // RFC 5321 section 4.5.1: always there, whatever the restrictions say.
      if (recipient_ && iequals(*recipient_, "postmaster")) break;
      if (delayed) status = client_list();
      if (delayed && status != Status::reject) status = helo_list();
      if (delayed && status != Status::reject) status = sender_list();
      if (status != Status::reject) status = recipient_lists();
      break;
    case Stage::etrn:
      if (delayed) status = client_list();
      if (delayed && status != Status::reject) status = helo_list();
      if (status != Status::reject) {
        reset_list_state();
        status = walk(rules_.etrn, {std::string(context_.typed), "Etrn command"}, &kEtrnAccess);
      }
      break;
    case Stage::data: status = plain_list(rules_.data, "DATA", "Data command"); break;
    case Stage::eom: status = plain_list(rules_.end_of_data, "END-OF-MESSAGE", "End-of-data"); break;
    default: break;
  }
  if (status == Status::reject) {
    // VRFY is answered with its argument as typed, brackets and all.
    if (stage_ == Stage::vrfy && recipient_ && verdict_.text.starts_with("<" + *recipient_ + ">")) {
      verdict_.text.replace(1, recipient_->size(), context_.typed);
    }
    return std::move(verdict_);
  }
  Verdict verdict;
  if (discard_) {
    verdict.action = Action::discard;
    verdict.reason_id = "access_discard";
    verdict.facts.emplace_back("log", "no");   // the discard line is written already
  }
  return verdict;
}

void Run::reset_list_state() {
  frames_.clear();
  warn_depth_ = 0;
  if_reject_.reset();
}

Status Run::client_list() {
  if_permit_.reset();
  reset_list_state();
  const Status status = walk(rules_.client, {client(), kClient}, &kClientAccess);
  state_.after_client = if_permit_;
  return status;
}

Status Run::helo_list() {
  if_permit_ = state_.after_client;
  Status status = Status::dunno;
  if (!helo_.empty()) {
    reset_list_state();
    status = walk(rules_.helo, {helo_, kHelo}, &kHeloAccess);
  }
  state_.after_helo = if_permit_;
  return status;
}

Status Run::sender_list() {
  // Without HELO its list did not run, and what the client list put off still holds.
  if_permit_ = helo_.empty() ? state_.after_client : state_.after_helo;
  Status status = Status::dunno;
  if (sender_) {
    reset_list_state();
    status = walk(rules_.sender, {*sender_, kSender}, &kSenderAccess);
    warn_depth_ = 0;
    if (params_.smtpd_reject_unlisted_sender && status != Status::reject && !sender_checked_ && !discard_ &&
        !sender_->empty()) {
      status = reject_unlisted(*sender_, kSender);
    }
  }
  state_.after_sender = if_permit_;
  return status;
}

Status Run::recipient_lists() {
  if (!params_.smtpd_delay_reject && !sender_) {   // VRFY before MAIL
    if_permit_ = helo_.empty() ? state_.after_client : state_.after_helo;
  } else {
    if_permit_ = state_.after_sender;
  }
  const std::string recipient = recipient_.value_or("");
  const Program* lists[] = {&rules_.relay, &rules_.recipient};
  if (!params_.smtpd_relay_before_recipient_restrictions) std::swap(lists[0], lists[1]);
  Status status = Status::dunno;
  for (const Program* list : lists) {
    reset_list_state();
    status = walk(*list, {recipient, kRecipient}, &kRecipientAccess);
    if (status == Status::reject) return status;
  }
  warn_depth_ = 0;
  if (if_permit_) {
    word_ = nullptr;
    const Deferral pending = *if_permit_;
    status = reject(pending.code, pending.dsn, pending.text);
    verdict_.reason_id = pending.reason_id;
    return status;
  }
  if (params_.smtpd_reject_unlisted_recipient && !recipient_checked_ && !discard_ && !recipient.empty()) {
    status = reject_unlisted(recipient, kRecipient);
  }
  return status;
}

Status Run::plain_list(const Program& program, const char* name, std::string_view kind) {
  if_permit_.reset();
  reset_list_state();
  const Status status = walk(program, {name, kind}, nullptr);
  if (status == Status::reject || !if_permit_) return status;
  const Deferral pending = *if_permit_;
  const Status deferred = reject(pending.code, pending.dsn, pending.text);
  verdict_.reason_id = pending.reason_id;
  return deferred;
}

// One list and all that it leads to.  A frame that ends gives its status to the step that opened it.
Status Run::walk(const Program& program, Subject subject, const Word* bare) {
  if (program.steps.empty()) return Status::dunno;
  list_ = static_cast<std::size_t>(std::find(lists_.begin(), lists_.end(), &program) - lists_.begin());
  bare_ = bare;
  frames_.clear();
  frames_.push_back({&program, nullptr, 0, std::move(subject)});
  Status status = Status::dunno;
  for (;;) {
    Frame& frame = frames_.back();
    status = Status::dunno;
    bool ended = discard_ || frame.next == frame.program->steps.size();
    if (!ended) {
      const Step& next = frame.program->steps[frame.next++];
      if (next.word != nullptr && next.word->handler == nullptr) {   // warn_if_reject
        if (warn_depth_ == 0) warn_depth_ = frames_.size();
        continue;
      }
      descent_ = {};
      status = step(next);
      if (descent_.program != nullptr) {
        if (frames_.size() >= kMaxDepth) {
          const auto from = std::find_if(frames_.rbegin(), frames_.rend(), [](const Frame& each) { return !each.value.empty(); });
          status = config_error(from == frames_.rend() ? "restriction class " + next.text + " causes unreasonable recursion"
                                                       : "access table " + from->source + " entry " + from->value +
                                                             " causes unreasonable recursion");
        } else {
          frames_.push_back({descent_.program, std::move(descent_.owned), 0, std::move(descent_.subject), descent_.ok,
                             std::move(descent_.source), std::move(descent_.value)});
          continue;
        }
      }
    }
    // The step is done, or a whole list: then so is the step of the list above it that led here.
    for (;;) {
      if (!ended) {
        if (warn_depth_ >= frames_.size()) warn_depth_ = 0;
        if (status == Status::dunno && !(if_permit_ && if_reject_)) break;
      }
      const Ok ok = frames_.back().ok;
      const std::string source = std::move(frames_.back().source);
      frames_.pop_back();
      if (frames_.empty()) return status;
      status = settle_ok(status, ok, source);
      ended = false;
    }
  }
}

Status Run::step(const Step& step) {
  if (step.restriction_class != nullptr) {
    descent_.program = step.restriction_class;
    descent_.subject = subject();
    return Status::dunno;
  }
  word_ = step.word;
  if (step.word->ahead != nullptr) look_ahead();
  const Status status = (this->*step.word->handler)(step);
  if (context_.session.verbosity >= 2 && !silent_) {
    const char* const said = status == Status::ok ? "permit" : status == Status::reject ? "refuse" : "dunno";
    log().info(printable(subject().name + ": " + std::string(step.word->name) + (step.text == step.word->name ? "" : " " + step.text) +
                         ": " + (descent_.program != nullptr ? "a list" : said)));
  }
  return status;
}

Status Run::settle_ok(Status status, Ok ok, const std::string& source) {
  if (status != Status::ok || ok == Ok::counts) return status;
  if (ok == Ok::suspicious) return Status::dunno;
  warn(source);
  warn("this is not allowed for security reasons");
  return config_error("use DUNNO instead of OK if you want to make an exception");
}

Status Run::reject(int code, std::string_view dsn, std::string text, bool hard) {
  const bool only_logs = warn_depth_ != 0 && !hard;
  std::string enhanced(dsn);
  if (code < 400 || code > 599) {
    warn("response code configuration error: " + std::to_string(code) + " " + enhanced + " " + text);
    code = 450;
    enhanced = "4.7.1";
    text = "Service unavailable";
  }
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  }
  // A temporary trouble before may have kept us from permitting: then this is no time for a final no.
  if (!only_logs && if_reject_ && code >= 500) {
    const Deferral pending = *if_reject_;
    if_reject_.reset();
    const Status status = reject(pending.code, pending.dsn, pending.text, true);
    verdict_.reason_id = pending.reason_id;
    return status;
  }
  if (params_.soft_bounce && code >= 500) code -= 100;
  if (!enhanced.empty()) enhanced[0] = static_cast<char>('0' + code / 100);
  if (text.size() + enhanced.size() + 5 > kMaxReply) text.resize(kMaxReply - enhanced.size() - 5);
  if (only_logs) {
    log_whatsup("reject_warning", std::to_string(code) + " " + enhanced + " " + text);
    return Status::dunno;
  }
  verdict_ = Verdict::reply(code, std::move(enhanced), std::move(text));
  verdict_.reason_id = word_ != nullptr ? std::string(word_->name) : "restrictions";
  return Status::reject;
}

Status Run::reject_about(const Subject& about, int code, std::string_view dsn, std::string_view text) {
  return reject(code, dsn, "<" + about.name + ">: " + std::string(about.kind) + " rejected: " + std::string(text));
}

// The first cause wins, here and below.
Status Run::defer_if_permit(int code, std::string_view dsn, std::string text) {
  if (warn_depth_ != 0) return reject(code, dsn, std::move(text));
  if (!if_permit_) if_permit_ = {code, std::string(dsn), std::move(text), word_ != nullptr ? std::string(word_->name) : ""};
  return Status::dunno;
}

Status Run::defer_if_reject(int code, std::string_view dsn, std::string text) {
  if (!if_reject_) if_reject_ = {code, std::string(dsn), std::move(text), word_ != nullptr ? std::string(word_->name) : ""};
  return Status::dunno;
}

Status Run::config_error(std::string_view warning) {
  warn(warning);
  return reject(451, "4.3.5", "Server configuration error", true);
}

Status Run::lookup_failure(std::string_view about, const Error& error) {
  warn(error.context);
  return reject(451, "4.3.0", "<" + std::string(about) + ">: Temporary lookup failure", true);
}

std::string Run::where() const {
  switch (stage_) {
    case Stage::connect: return "CONNECT";
    case Stage::helo: {
      std::string_view command = context_.command;
      const std::string verb = upper(take_word(command));
      return verb.empty() ? "EHLO" : verb;
    }
    case Stage::eom: return "END-OF-MESSAGE";
    default: return upper(filter::stage_name(stage_));
  }
}

std::string Run::client_name() const {
  return context_.session.client_address.empty() ? "localhost" : context_.session.client_name;
}

std::string Run::client_address() const {
  return context_.session.client_address.empty() ? "127.0.0.1" : context_.session.client_address;
}

std::string Run::client() const {
  std::string out = client_name() + "[" + client_address() + "]";
  const std::string& port = context_.session.client_port;
  if (params_.smtpd_client_port_logging) out += ":" + (port.empty() ? "unknown" : port);
  return out;
}

const log::Logger& Run::log() const {
  static const log::Logger fallback;
  return context_.log != nullptr ? *context_.log : fallback;
}

void Run::warn(std::string_view text) const {
  if (!silent_) log().warning(printable(text));
}

// Once for each word, whichever front comes to it first.
void Run::warn_of_old_word(std::string_view name, std::string_view instead) const {
  if (silent_) return;
  static std::mutex mutex;
  static std::set<std::string, std::less<>> told;
  {
    const std::lock_guard lock(mutex);
    if (!told.emplace(name).second) return;
  }
  const auto& first = rules_.environment.first_of_all;
  if (first && !first(name)) return;
  warn("support for restriction \"" + std::string(name) + "\" will be removed from " + params_.mail_name + "; use \"" +
       std::string(instead) + "\" instead");
}

// "4CKpx3: info: RCPT from name[addr]: text; from=<a> to=<b> proto=ESMTP helo=<c>"
void Run::log_whatsup(std::string_view what, std::string_view text) const {
  if (silent_) return;
  const std::string& id = context_.envelope.queue_id;
  std::string line = (id.empty() ? "NOQUEUE" : id) + ": ";
  line.append(what).append(": ").append(where()).append(" from ").append(client()).append(": ").append(text).append(";");
  if (sender_) line += " from=<" + rewrite::quote_local(*sender_) + ">";
  if (recipient_) line += " to=<" + rewrite::quote_local(*recipient_) + ">";
  line += " proto=" + protocol_;
  if (!helo_.empty()) line += " helo=<" + helo_ + ">";
  if (!context_.session.sasl_username.empty()) line += " sasl_username=<" + context_.session.sasl_username + ">";
  log().info(printable(line));
}

}  // namespace millrace::restrict
