// From SPF results to what is done with a message: HELO first, then MAIL FROM, as policyd-spf does.  Pure over a
// resolver.
#pragma once

#include <string>

#include "plugins/spf/evaluator.h"
#include "plugins/spf/settings.h"

namespace millrace::spf {

struct Request {
  std::string client_address, helo, sender, recipient;   // as the SMTP client said them
};

// A resolver whose patience is set before each step.
class PatientResolver : public Resolver {
 public:
  virtual void begin(unsigned seconds) = 0;
};

struct Judgement {
  enum class Action { none, prepend, reject, defer, restriction } action = Action::none;
  std::string header;        // "Received-SPF: …", for prepend; "": nothing to add
  std::string text;          // reject, defer: for the client; restriction: the action
  bool is_error = false;     // what was refused is a broken record or failing DNS: 5.7.24, 4.7.24
  // What it rests on, for log, trace and Authentication-Results.
  const char* identity = ""; // "helo", "mailfrom"; "" when nothing was checked
  Outcome outcome;
  std::string why;           // "SPF check N/A for local connections" and the like, when nothing was checked
};

Judgement judge(PatientResolver& resolver, const Settings& settings, const std::string& authserv_id, const Request& request);

// As an action of access(5): "PREPEND Received-SPF: …", "550 5.7.23 …", "defer_if_permit 4.7.24 …", "DUNNO".
std::string to_action(const Judgement& judgement, const Settings& settings);

}  // namespace millrace::spf
