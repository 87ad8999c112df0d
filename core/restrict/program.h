// Restriction lists as the evaluator runs them: words looked up, tables and services opened.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/dnsbl/site.h"
#include "core/mime/cleanup.h"
#include "core/restrict/restrict.h"
#include "core/rewrite/own_addresses.h"

namespace millrace::restrict {

class Run;
struct Step;

enum class Status { dunno, ok, reject };

// `login` and `certificate` words are about SASL and client certificates: without these they do nothing, with
// them they are not supported yet.
enum class Argument { none, table, policy, seconds, site, lua, plugin, login, login_table, certificate,
                      certificate_table };

enum Trait : unsigned {
  kEndsList = 1,        // permit, reject, defer: what follows is never reached
  kControlsRelay = 2,   // counts for the relay safety net
  kLocal = 4,           // asks nobody and changes nothing: can be asked in advance
};

// One row per restriction word of Postfix and ours.  `handler` nullptr: the walker treats it itself
// (warn_if_reject).  `ahead` starts the DNS questions that it would ask.
struct Word {
  std::string_view name;
  Argument argument;
  Status (Run::*handler)(const Step&);
  unsigned traits = 0;
  void (Run::*ahead)(const Step&) = nullptr;
  bool ends_list() const { return (traits & kEndsList) != 0; }
  bool controls_relay() const { return (traits & kControlsRelay) != 0; }
  bool is_local() const { return (traits & kLocal) != 0; }
};
const Word* find_word(std::string_view name);   // without regard to case
// What a table without a word means in each list; kListDefault stands in a class for the list that uses it.
extern const Word kClientAccess, kHeloAccess, kSenderAccess, kRecipientAccess, kEtrnAccess, kListDefault;
// Steps that only say something: the one refuses too, the other does not.
extern const Word kBrokenWord, kWarningWord;

struct Program;

struct Step {
  const Word* word = nullptr;
  const Program* restriction_class = nullptr;    // instead of a word
  std::string text;                              // as written, for messages
  std::shared_ptr<map::Table> table;
  std::shared_ptr<policy::Service> service;
  std::shared_ptr<ForeignWord> foreign;
  std::chrono::seconds seconds{0};
  std::vector<dnsbl::Site> sites;
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
  map::MatchList backup_networks;          // permit_mx_backup_networks
  map::MatchList relay_domains;
  map::Maps rbl_replies;
  mime::CharacterSet reply_characters;     // smtpd_expansion_filter
  rewrite::OwnAddresses own_addresses;     // inet_interfaces
  rewrite::OwnAddresses reached_addresses; // with proxy_interfaces
  bool ipv4 = true, ipv6 = true;           // inet_protocols
  bool any_recipient = false;              // receive_override_options = no_unknown_recipient_checks
  bool parent_domains_match = true;        // smtpd_access_maps in parent_domain_matches_subdomains
};

// The right-hand side of an access table (`source`): words and classes, but no tables and services, which must
// be open since start-up.  What is wrong with it is said by the step that stands there, when it is reached,
// behind `place` ("policy.lua:3: " for a script's answer, "" for a table's).
Program compile_result(const Rules& rules, const std::string& source, std::string_view text, const std::string& place);

// All lists of a service.  nullptr when there are errors in `findings`.
std::shared_ptr<const Rules> compile(const Environment& environment, config::Findings& findings);

}  // namespace millrace::restrict
