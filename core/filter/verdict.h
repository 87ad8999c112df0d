// What a filter answers.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace millrace::filter {

enum class Stage { connect, helo, mail, rcpt, data, header, eoh, body, eom, abort, close, unknown };
std::string_view stage_name(Stage stage);  // "connect", …

enum class Action {
  proceed,     // no opinion; ask the next filter ("continue" is a keyword)
  accept,      // this filter is content with the session (connect, helo) or the message; others are still asked
  reject,      // 5xx
  tempfail,    // 4xx
  discard,     // tell the client 250, deliver to nobody
  quarantine,  // accept into the hold queue
  disconnect,  // 421 (or 521) and close
};
std::string_view action_name(Action action);

// Filled so far as the action needs it.  `code` 0 stands for the action's default (550/451/421).
struct Verdict {
  Action action = Action::proceed;
  int code = 0;
  std::string enhanced;    // "5.7.1"
  std::string text;        // without codes, may hold LF between lines of a multi-line reply
  std::string reason_id;   // stable symbol for logs and dashboards
  double score = 0;
  std::vector<std::pair<std::string, std::string>> facts;
  bool hangup = false;      // close without a reply (access(5) HANGUP)
  bool sticky = false;      // holds for the rest of the session (connect, helo)

  static Verdict proceed_() { return {}; }
  static Verdict reply(int code, std::string enhanced, std::string text);  // action from the code
  bool stops() const { return action != Action::proceed && action != Action::accept; }
  bool refuses() const { return action == Action::reject || action == Action::tempfail || action == Action::disconnect; }
};

}  // namespace millrace::filter
