// The restrictions of the SMTP server as one filter of the chain: smtpd_client_, helo_, sender_, relay_,
// recipient_, data_, end_of_data_ and etrn_restrictions with Postfix's meaning (SMTPD_ACCESS_README,
// postconf(5), access(5)).
//
// Promises: what cannot be evaluated (an unknown result, a failing table, policy service or script) is a
// temporary refusal and a line in the log, never a permit.  A server that would be an open relay does not
// start.  What is permitted here is not logged; refusals are returned, and logged by the SMTP session.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "core/config/config.h"
#include "core/filter/chain.h"
#include "core/map/table.h"
#include "core/net/dns.h"
#include "core/policy/client.h"
#include "core/rewrite/router.h"
#include "core/smtp/sink.h"

namespace millrace::restrict {

// A restriction written in another language: `check_lua FILE[:FUNCTION]`, `check_plugin NAME`, or a class
// whose value is `lua:FILE[:FUNCTION]`.
class ForeignWord {
 public:
  struct Answer {
    std::string action;   // access(5) result: "REJECT 5.7.1 text", "dunno", restriction words
    std::string where;    // "policy.lua:3": told in the log when the action means nothing
  };
  virtual ~ForeignWord() = default;
  // Errors (script error, budget, nil or a wrong type returned, no such plugin): the context holds
  // file:line and is logged; the client gets 451 4.3.5.  [fiber; suspends]
  virtual Result<Answer> ask(const policy::Attributes& facts, filter::Context& context) = 0;
};

struct Environment {
  std::shared_ptr<const config::Config> config;
  std::shared_ptr<const config::Params> params;   // of the service
  const config::Service* service = nullptr;       // nullptr: main.cf alone
  std::shared_ptr<rewrite::Router> router;
  map::TableSet* tables = nullptr;
  net::Resolver* resolver = nullptr;              // may be nullptr for `check`; outlives the filter
  policy::Pool* policies = nullptr;               // start-up only
  // Asks the queue process what is known of an address; empty for `check`.  [fiber]
  std::function<Result<smtp::Verified>(const std::string& address, std::chrono::seconds wait)> verify;
  // Is this process the first of the server to ask with this text?  Empty: there is no other.
  std::function<bool(std::string_view text)> first_of_all;
  // Makes the word of kind "lua" or "plugin"; errors are start-up errors.  Empty: such words are refused.
  // `parameter`: where the word stands.
  std::function<Result<std::shared_ptr<ForeignWord>>(const std::string& parameter, std::string_view kind,
                                                     std::string_view argument)> foreign;
};

// Reads and checks all lists of a service.  What is wrong (unknown or unsupported words, tables that do
// not open, no relay control) goes to `findings` with file, line, parameter and word; with errors there
// the result is nullptr.
std::shared_ptr<filter::Filter> make_filter(const Environment& environment, config::Findings& findings);

}  // namespace millrace::restrict
