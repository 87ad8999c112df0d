// What a filter answers.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace millrace::filter {

// The milter names, and vrfy and etrn, which restrictions are asked about and milters are not.
enum class Stage { connect, helo, mail, rcpt, data, header, eoh, body, eom, abort, close, unknown, vrfy, etrn };
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
//
// What the SMTP session makes of it:
// - reason_id that begins with "milter" is logged as "milter-reject: STAGE from …" (milter-discard,
//   milter-hold), any other as "reject: STAGE from …"; a fact ("log", "no") keeps the session from
//   logging the verdict at all, for a filter that has done so itself.
// - text is sent and logged as it is: a restriction's already begins "<b@dest.example>: ".
// - disconnect, and every reply with code 421 or 521, closes the session after the reply.
// - sticky, at connect and helo: Sendmail's and Postfix's rule for milters.  connect: 5xx becomes
//   "554 host ESMTP not accepting connections", 421 "421 host Service unavailable - try again later",
//   4xx the usual greeting; helo: 250.  The verdict itself answers every MAIL, RCPT, DATA, VRFY, ETRN,
//   STARTTLS, AUTH and unknown command that follows.  Not sticky: the verdict answers the command at
//   once; at connect a 5xx replaces the greeting and all commands but QUIT get 503 5.7.0.
// - discard, quarantine: hold for the message (also when said at rcpt or mail); the client sees 250.
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
  // The filter could not do its work: what happened, naming the filter as its log lines do ("milter
  // inet:127.0.0.1:8891: can't read reply to RCPT: Connection timed out").  The chain logs it as a
  // warning, drops the edits and answers the filter's default_action in place of all the rest; sticky and
  // reason_id are kept.  A filter that stays broken answers its default_action itself from then on.
  std::string failure;

  static Verdict proceed_() { return {}; }
  static Verdict fail(std::string what) {
    Verdict verdict;
    verdict.failure = std::move(what);
    return verdict;
  }
  static Verdict reply(int code, std::string enhanced, std::string text);  // action from the code
  bool stops() const { return action != Action::proceed && action != Action::accept; }
  bool refuses() const { return action == Action::reject || action == Action::tempfail || action == Action::disconnect; }
};

}  // namespace millrace::filter
