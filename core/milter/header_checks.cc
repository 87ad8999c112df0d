// milter_header_checks: header_checks(5) rules on headers that filters add, insert or change.  What a rule asks for
// counts once the filter has given its final answer, together with the filter's edits or not at all.
#include <fmt/format.h>

#include "core/base/strings.h"
#include "core/checks/action.h"
#include "core/milter/client.h"

namespace millrace::milter {
namespace {

using checks::Decision;
using filter::Action;
using filter::Edit;
using filter::Verdict;
using Kind = Decision::Kind;

constexpr std::string_view kParameter = "milter_header_checks";
constexpr std::size_t kLogged = 200;

bool makes_header(const Edit& edit) {
  return edit.kind == Edit::Kind::add_header || edit.kind == Edit::Kind::insert_header || edit.kind == Edit::Kind::change_header;
}

}  // namespace

bool MilterSession::check_header(Edit& edit, Context& context) {
  if (settings_.header_checks->empty() || !makes_header(edit)) return true;
  const mime::Envelope& envelope = context.envelope;
  std::string text = edit.name + (edit.keep_space ? ":" : ": ") + edit.value;
  std::erase(text, '\r');
  const log::Logger log = settings_.cleanup_log.with_number(static_cast<unsigned>(context.session.session_number));
  const map::Lookup answer = settings_.header_checks->find(text);
  if (!answer) {
    log.warning(fmt::format("{}: {}: {}", envelope.queue_id, kParameter, answer.error().context));
    asked_.reject = Verdict::reply(451, "4.3.0", "Error: queue file write error");
    asked_.reject->facts.emplace_back("log", "no");
    return false;
  }
  if (!answer->has_value()) return true;
  Decision decision = checks::parse_header_action(**answer);
  if (decision.kind == Kind::pass) {
    decision.text = "unsupported command in %s map: " + **answer;
    decision.kind = Kind::bad;
  }
  const auto note = [&](std::string_view action, std::string_view why) {
    const std::string to = envelope.recipients.empty() ? "" : " to=<" + envelope.recipients.back().address + ">";
    log.info(fmt::format("{}: milter-header-{}: header {} from {}[{}]; from=<{}>{} proto={} helo=<{}>: {}", envelope.queue_id, action,
                         text.substr(0, kLogged), context.session.client_name, context.session.client_address, envelope.sender, to,
                         context.session.protocol, context.session.helo_name, why));
  };
  switch (decision.kind) {
    case Kind::dunno: return true;
    case Kind::bad: log.warning(decision.complaint(kParameter)); return true;
    case Kind::warn: note("warning", decision.text); return true;
    case Kind::info: note("info", decision.text); return true;
    case Kind::ignore: return false;
    case Kind::strip: note("strip", decision.text); return false;
    case Kind::prepend: note("prepend", decision.text); return true;   // told and not done, as Postfix has it
    case Kind::replace: {
      note("replace", decision.text);
      const std::size_t colon = decision.text.find(':');
      edit.name = trim(std::string_view(decision.text).substr(0, colon));
      edit.value = decision.text.substr(colon + 1);
      edit.keep_space = true;
      return true;
    }
    case Kind::hold:
      if (!asked_.hold) note("hold", decision.text);
      asked_.hold = decision.text;
      return true;
    case Kind::filter:
      note("filter", decision.text);
      asked_.filter = decision.text;
      return true;
    case Kind::redirect:
      note("redirect", decision.text);
      asked_.redirect = decision.text;
      return true;
    case Kind::bcc:
      note("bcc", decision.text);
      asked_.bcc.push_back(decision.text);
      return true;
    case Kind::discard:
      note("discard", decision.text);
      asked_.discard = true;
      return true;
    default: break;
  }
  note("reject", decision.enhanced + " " + decision.text);
  if (!asked_.reject) {
    asked_.reject = Verdict::reply(decision.code, decision.enhanced, decision.text);
    asked_.reject->reason_id = kParameter;
    asked_.reject->facts.emplace_back("log", "no");
  }
  return true;
}

// The filter's answer together with what the rules asked for.
Verdict MilterSession::checked(Context&, filter::Journal& journal, Verdict verdict) {
  const Asked asked = std::exchange(asked_, {});
  if (state_ == State::dead || verdict.action == Action::discard || !verdict.failure.empty()) return verdict;
  if (asked.reject) return *asked.reject;
  if (verdict.refuses()) return verdict;
  const auto quiet = [&](Action action) {
    verdict.action = action;
    verdict.reason_id = kParameter;
    verdict.facts.emplace_back("log", "no");
  };
  if (asked.discard) {
    quiet(Action::discard);
    return verdict;
  }
  if (asked.filter) journal.content_filter = asked.filter;
  if (asked.redirect) journal.redirect = asked.redirect;
  for (const std::string& address : asked.bcc) {
    journal.add({Edit::Kind::add_recipient, 0, address, {}, false});
  }
  if (asked.hold && verdict.action != Action::quarantine) {
    quiet(Action::quarantine);
    verdict.text = *asked.hold;
  }
  return verdict;
}

}  // namespace millrace::milter
