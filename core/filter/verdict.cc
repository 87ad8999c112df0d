// Names of stages and actions, and replies as verdicts: see verdict.h.
#include "core/filter/verdict.h"

namespace millrace::filter {

std::string_view stage_name(Stage stage) {
  static constexpr std::string_view kNames[] = {"connect", "helo", "mail",  "rcpt",  "data",    "header", "eoh",
                                                "body",    "eom",  "abort", "close", "unknown", "vrfy",   "etrn"};
  return kNames[static_cast<std::size_t>(stage)];
}

std::string_view action_name(Action action) {
  static constexpr std::string_view kNames[] = {"continue", "accept",     "reject",    "tempfail",
                                                "discard",  "quarantine", "disconnect"};
  return kNames[static_cast<std::size_t>(action)];
}

Verdict Verdict::reply(int code, std::string enhanced, std::string text) {
  Verdict verdict;
  verdict.code = code;
  verdict.enhanced = std::move(enhanced);
  verdict.text = std::move(text);
  if (code == 421 || code == 521) {
    verdict.action = Action::disconnect;
  } else if (code >= 500) {
    verdict.action = Action::reject;
  } else if (code >= 400) {
    verdict.action = Action::tempfail;
  } else {
    verdict.action = Action::accept;
  }
  return verdict;
}

}  // namespace millrace::filter
