// Asking the chain, and what a verdict becomes.  See verdict.h for the rules.
#include <fmt/format.h>

#include "core/base/strings.h"
#include "core/smtp/session.h"

namespace millrace::smtp {
namespace {

// A bound for the case that a filter has none of its own.
constexpr auto kStageBudget = std::chrono::hours(1);

bool is_milter(const filter::Verdict& verdict) { return verdict.reason_id.rfind("milter", 0) == 0; }

// All lines of it; Postfix shows line ends so.
std::string logged_wire(const Reply& reply) {
  std::string wire = reply.wire();
  wire.resize(wire.size() - 2);
  for (char& c : wire) {
    if (c == '\r' || c == '\n') c = '?';
  }
  return wire;
}

bool is_logged_already(const filter::Verdict& verdict) {
  for (const auto& [name, value] : verdict.facts) {
    if (name == "log" && value == "no") return true;
  }
  return false;
}

}  // namespace

Transaction& Session::transaction() {
  if (!transaction_) transaction_ = std::make_unique<Transaction>();
  return *transaction_;
}

void Session::end_transaction() {
  if (!transaction_) return;
  if (transaction_->begun) {
    if (chain_) chain_->abort();
    forwarded_.reset();
  }
  transaction_.reset();
}

filter::Verdict Session::ask(filter::Stage stage, const Input* input, std::string_view typed,
                             std::size_t first_parameter, const mime::Recipient* rcpt) {
  if (service_.chain.filters().empty()) return {};
  Transaction& current = transaction();
  filter::Context context{.session = facts_, .envelope = current.envelope};
  context.rcpt = rcpt;
  context.typed = typed;
  context.deadline = Deadline::after(kStageBudget);
  context.log = &log_;
  if (input != nullptr) {
    context.command = input->line;
    for (std::size_t i = first_parameter; i < input->words.size(); ++i) context.parameters.push_back(input->words[i].text);
  }
  filter::Verdict verdict = chain_->at(stage, context);
  if (!verdict.refuses()) {
    for (std::string& header : context.prepend) current.prepend.push_back(std::move(header));
  }
  return verdict;
}

Reply Session::refusal(const filter::Verdict& verdict, const mime::Recipient* rcpt, Log log) {
  Reply reply;
  by_policy_ = true;
  const bool temporary = verdict.action == filter::Action::tempfail;
  const bool goodbye = verdict.action == filter::Action::disconnect;
  reply.code = verdict.code != 0 ? verdict.code : goodbye ? 421 : temporary ? 451 : 550;
  reply.enhanced = verdict.enhanced;
  reply.text = verdict.text;
  if (reply.text.empty() && !(is_milter(verdict) && verdict.code != 0)) {   // a milter may have nothing to say
    if (reply.enhanced.empty() && !goodbye) reply.enhanced = reply.code >= 500 ? "5.7.1" : "4.7.1";
    reply.text = reply.code >= 500 ? "Command rejected" : "Service unavailable - try again later";
    if (goodbye) reply.text.insert(0, params_.myhostname + " ");
  }
  if (goodbye) reply.then = Reply::Then::close;
  if (log == Log::yes && !is_logged_already(verdict)) {
    const bool at_end = std::string_view(where_) == "END-OF-MESSAGE";
    if (is_milter(verdict) && at_end) {
      // As Postfix's cleanup has it: without the code.
      log_event(service_.cleanup_log, "milter-reject", logged_wire(reply).substr(4));
    } else if (is_milter(verdict)) {
      log_event(log_, "milter-reject", logged_wire(reply), rcpt);
    } else {
      log_event(log_, "reject", reply.one_line(), rcpt);
    }
  }
  if (verdict.hangup) return Reply(0, "", "", Reply::Then::close);
  return reply;
}

void Session::note_outcome(const filter::Verdict& verdict, const mime::Recipient* rcpt) {
  if (verdict.action != filter::Action::discard && verdict.action != filter::Action::quarantine) return;
  const bool discard = verdict.action == filter::Action::discard;
  Transaction& current = transaction();
  if (discard) {
    current.discard = true;
  } else {
    current.envelope.hold = true;
    if (current.envelope.hold_reason.empty()) current.envelope.hold_reason = verdict.text;
  }
  if (is_logged_already(verdict)) return;
  const std::string word = discard ? "discard" : "hold";
  const bool at_end = std::string_view(where_) == "END-OF-MESSAGE";
  if (is_milter(verdict)) {
    const std::string text = verdict.text.empty() || discard ? "milter triggers " + upper(word) + " action" : verdict.text;
    log_event(at_end ? service_.cleanup_log : log_, "milter-" + word, text, rcpt);
  } else {
    log_event(log_, word, verdict.text.empty() ? "filter triggers " + upper(word) + " action" : verdict.text, rcpt);
  }
}

std::optional<Reply> Session::standing_refusal() {
  if (service_.chain.filters().empty()) return {};
  const filter::Context context{.session = facts_, .envelope = transaction().envelope};
  const filter::Verdict verdict = chain_->standing(context);
  if (!verdict.refuses()) return {};
  return refusal(verdict, nullptr, Log::no);
}

}  // namespace millrace::smtp
