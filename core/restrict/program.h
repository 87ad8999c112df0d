// Restriction lists as the evaluator runs them: words looked up, tables and services opened.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/restrict/restrict.h"
#include "core/rewrite/own_addresses.h"

namespace millrace::restrict {

class Run;
struct Step;

enum class Status { dunno, ok, reject };

enum class Argument { none, table, policy, seconds, lua, plugin, unsupported };

// One row per restriction word of Postfix and ours.  `handler` nullptr: the walker treats it itself
// (warn_if_reject), or the word is not supported.
struct Word {
  std::string_view name;
  Argument argument;
  Status (Run::*handler)(const Step&);
  bool ends_list = false;       // permit, reject, defer: what follows is never reached
  bool controls_relay = false;  // counts for the relay safety net
};
const Word* find_word(std::string_view name);   // without regard to case
// What a table without a word means in each list; kListDefault stands in a class for the list that uses it.
extern const Word kClientAccess, kHeloAccess, kSenderAccess, kRecipientAccess, kEtrnAccess, kListDefault;

struct Program;

struct Step {
  const Word* word = nullptr;
  const Program* restriction_class = nullptr;    // instead of a word
  std::string text;                              // as written, for messages
  std::shared_ptr<map::Table> table;
  std::shared_ptr<policy::Service> service;
  std::shared_ptr<ForeignWord> foreign;
  std::chrono::seconds seconds{0};
};

struct Program {
  std::string parameter;
  std::vector<Step> steps;
};

// Everything a service's sessions share; immutable once made.
struct Rules {
  Environment environment;
  Program client, helo, sender, relay, recipient, data, end_of_data, etrn;
  std::map<std::string, std::unique_ptr<Program>, std::less<>> classes;
  map::MatchList mynetworks;
  rewrite::OwnAddresses own_addresses;     // inet_interfaces
  bool any_recipient = false;              // receive_override_options = no_unknown_recipient_checks
  bool parent_domains_match = true;        // smtpd_access_maps in parent_domain_matches_subdomains
};

// The right-hand side of an access table: words and classes, but no tables and services, which must be
// open since start-up.  nullopt: `why` says what is wrong.
std::optional<Program> compile_result(const Rules& rules, std::string_view text, std::string& why);

// All lists of a service.  nullptr when there are errors in `findings`.
std::shared_ptr<const Rules> compile(const Environment& environment, config::Findings& findings);

}  // namespace millrace::restrict
