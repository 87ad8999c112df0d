// Checking verdicts: see verdict.h.
#include "core/plugin/verdict.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/base/strings.h"

namespace millrace::plugin {
namespace {

using filter::Action;
using filter::Verdict;

constexpr std::size_t kMaxText = 1000;     // fits a reply line with every prefix Postfix and we put before it
constexpr std::uint64_t kMaxFacts = 64;

bool is_symbol(std::string_view text) {
  return text.size() <= 64 && std::all_of(text.begin(), text.end(), [](char c) {
    return is_alnum(c) || c == '-' || c == '_' || c == '.';
  });
}

// Empty, or "c.n.n" of class `klass`.
bool is_enhanced(std::string_view text, int klass) {
  if (text.empty()) return true;
  const auto parts = split(text, ".");
  if (parts.size() != 3 || std::count(text.begin(), text.end(), '.') != 2) return false;
  for (const std::string_view part : parts) {
    if (part.size() > 3 || !parse_number<unsigned>(part)) return false;
  }
  return parts[0].size() == 1 && parts[0][0] - '0' == klass;
}

bool is_clean(std::string_view text) {
  return std::none_of(text.begin(), text.end(), [](char c) { return (c >= 0 && c < ' ' && c != '\t') || c == 127; });
}

struct Rule {
  Action action;
  int klass;           // of code and enhanced code; 0: none may be given
  std::uint32_t stages;
};

constexpr std::uint32_t kInMessage =
    MR_STAGE_MAIL | MR_STAGE_RCPT | MR_STAGE_DATA | MR_STAGE_MESSAGE;
constexpr std::uint32_t kAny = kInMessage | MR_STAGE_CONNECT | MR_STAGE_HELO | MR_STAGE_UNKNOWN;

const Rule* find_rule(std::int32_t action) {
  static constexpr Rule kRules[] = {
      {Action::proceed, 0, ~0u},         {Action::accept, 0, kAny},          {Action::reject, 5, kAny},
      {Action::tempfail, 4, kAny},       {Action::discard, 0, kInMessage},   {Action::quarantine, 0, kInMessage},
      {Action::disconnect, 4, kAny},
  };
  return action >= 0 && static_cast<std::size_t>(action) < std::size(kRules) ? &kRules[action] : nullptr;
}

}  // namespace

std::optional<std::string_view> to_view(mr_string text, std::size_t limit) {
  if (text.size == 0) return std::string_view();
  if (text.data == nullptr || text.size > limit) return {};
  return std::string_view(text.data, static_cast<std::size_t>(text.size));
}

filter::Stage to_stage(std::uint32_t stage) {
  switch (stage) {
    case MR_STAGE_CONNECT: return filter::Stage::connect;
    case MR_STAGE_HELO: return filter::Stage::helo;
    case MR_STAGE_MAIL: return filter::Stage::mail;
    case MR_STAGE_RCPT: return filter::Stage::rcpt;
    case MR_STAGE_DATA: return filter::Stage::data;
    case MR_STAGE_MESSAGE: return filter::Stage::eom;
    case MR_STAGE_ABORT: return filter::Stage::abort;
    case MR_STAGE_UNKNOWN: return filter::Stage::unknown;
    default: return filter::Stage::close;
  }
}

Result<Verdict> to_verdict(const mr_verdict* given, std::uint32_t stage, bool smtputf8) {
  const auto wrong = [](const std::string& what) { return fail(Errc::protocol, what); };
  if (given == nullptr || !MR_HAS(mr_verdict, given, flags)) return wrong("verdict without its struct_size");
  mr_verdict v{};
  std::memcpy(&v, given, std::min<std::size_t>(given->struct_size, sizeof v));

  const Rule* const rule = find_rule(v.action);
  if (rule == nullptr) return wrong("unknown action " + std::to_string(v.action));
  if ((rule->stages & stage) == 0) return wrong("action " + std::string(action_name(rule->action)) + " at this stage");
  const auto enhanced = to_view(v.enhanced, 16), text = to_view(v.text, kMaxText), reason = to_view(v.reason_id, 64);
  if (!enhanced || !text || !reason) return wrong("a text without data, or too long");

  Verdict out;
  out.action = rule->action;
  int klass = rule->klass;
  if (out.action == Action::disconnect) {
    if (v.smtp_code != 0 && v.smtp_code != 421 && v.smtp_code != 521) {
      return wrong("code " + std::to_string(v.smtp_code) + " for disconnect");
    }
    if (v.smtp_code == 521) klass = 5;
  } else if (v.smtp_code != 0 && (klass == 0 || v.smtp_code / 100 != klass)) {
    return wrong("code " + std::to_string(v.smtp_code) + " for action " + std::string(action_name(out.action)));
  }
  if (!is_enhanced(*enhanced, klass)) return wrong("enhanced code \"" + printable(*enhanced) + "\" does not fit");
  if (!is_clean(*text) || (smtputf8 ? !is_valid_utf8(*text) : !is_ascii(*text))) {
    return wrong("text with characters that may not go to this client: \"" + printable(*text) + "\"");
  }
  if (!is_symbol(*reason)) return wrong("reason_id \"" + printable(*reason) + "\" is no symbol");
  if (!std::isfinite(v.score)) return wrong("score is no number");
  if ((v.flags & ~std::uint32_t{MR_VERDICT_FOR_SESSION}) != 0) return wrong("unknown flags");
  if ((v.flags & MR_VERDICT_FOR_SESSION) != 0) {
    if ((stage & (MR_STAGE_CONNECT | MR_STAGE_HELO)) == 0 || !out.refuses()) {
      return wrong("only a refusal at connect or helo can hold for the session");
    }
    out.sticky = true;
  }
  if (v.fact_count > kMaxFacts || (v.fact_count > 0 && v.facts == nullptr)) return wrong("too many facts, or none there");
  for (std::uint64_t i = 0; i < v.fact_count; ++i) {
    const auto name = to_view(v.facts[i].name, 64), value = to_view(v.facts[i].value, kMaxText);
    if (!name || !value || name->empty() || !is_symbol(*name)) return wrong("a fact without a usable name");
    out.facts.emplace_back("plugin." + std::string(*name), printable(*value));   // ours are without a dot
  }
  out.code = v.smtp_code;
  out.enhanced = *enhanced;
  out.text = *text;
  out.reason_id = *reason;
  out.score = v.score;
  return out;
}

}  // namespace millrace::plugin
