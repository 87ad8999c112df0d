// One evaluation of restriction lists for one command: the walker with Postfix's state (defer_if_permit,
// defer_if_reject, warn_if_reject), the replies, and the handlers of the words.
//
// Lists that lists name (classes, results of tables) are walked with a stack of frames on the heap: the
// fiber's stack does not grow with what a table or a policy service says.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/dnsbl/lookup.h"
#include "core/restrict/access_result.h"
#include "core/restrict/answers.h"
#include "core/restrict/program.h"

namespace millrace::restrict {

// A refusal that was put off.
struct Deferral {
  int code = 0;
  std::string dsn, text, reason_id;
};

// What the restrictions remember in one SMTP session.
struct SessionState {
  // defer_if_permit after the client, helo and sender list: each list starts from the one before.
  std::optional<Deferral> after_client, after_helo, after_sender;
  bool has_sender = false;               // in a transaction
  std::string instance;                  // of the policy protocol; made at the first command after MAIL
  std::vector<std::string> prepend;      // header fields, in order
  std::vector<std::string> bcc;
  unsigned transactions = 0;
  Answers answers;                       // of the transaction
  std::string protocol = "SMTP";         // of the command before: what EHLO itself is still answered in
};

class Run {
 public:
  // `message` is given at the end of data.
  Run(const Rules& rules, SessionState& state, filter::Context& context, filter::Stage stage,
      const mime::Message* message = nullptr);

  // Everything the stage asks for.
  filter::Verdict evaluate();

  // Handlers of the words, by subject.  words.cc is their table.
  Status permit(const Step&);
  Status reject_all(const Step&);
  Status defer_all(const Step&);
  Status defer_if_permit_word(const Step&);
  Status defer_if_reject_word(const Step&);
  Status sleep(const Step&);
  Status check_policy_service(const Step&);
  Status check_foreign(const Step&);
  Status reject_unauth_pipelining(const Step&);
  Status reject_multi_recipient_bounce(const Step&);
  Status reject_plaintext_session(const Step&);

  Status nothing(const Step&);           // SASL words without SASL
  Status broken(const Step&);
  Status say(const Step&);

  Status check_client_access(const Step&);
  Status check_reverse_client_hostname_access(const Step&);
  Status check_helo_access(const Step&);
  Status check_sender_access(const Step&);
  Status check_recipient_access(const Step&);
  Status check_etrn_access(const Step&);
  Status check_list_default(const Step&);

  Status check_server_access(const Step&);

  Status permit_mynetworks(const Step&);
  Status permit_inet_interfaces(const Step&);
  Status permit_sasl_authenticated(const Step&);
  Status reject_unknown_client_hostname(const Step&);
  Status reject_unknown_reverse_client_hostname(const Step&);

  Status reject_invalid_helo_hostname(const Step&);
  Status reject_non_fqdn_helo_hostname(const Step&);
  Status reject_unknown_helo_hostname(const Step&);

  Status reject_non_fqdn_sender(const Step&);
  Status reject_unknown_sender_domain(const Step&);
  Status reject_unlisted_sender(const Step&);

  Status permit_auth_destination(const Step&);
  Status reject_unauth_destination(const Step&);
  Status defer_unauth_destination(const Step&);
  Status reject_non_fqdn_recipient(const Step&);
  Status reject_unknown_recipient_domain(const Step&);
  Status reject_unlisted_recipient(const Step&);

  Status reject_unverified_sender(const Step&);      // verify.cc
  Status reject_unverified_recipient(const Step&);
  Status permit_mx_backup(const Step&);
  Status check_relay_domains(const Step&);
  Status permit_naked_ip_address(const Step&);

  Status reject_rbl_client(const Step&);
  Status reject_rhsbl(const Step&);
  Status permit_dnswl_client(const Step&);
  Status permit_rhswl_client(const Step&);
  Status reject_maps_rbl(const Step&);

  // The questions of the words above that ask DNS.
  void ahead_helo(const Step&);
  void ahead_sender_domain(const Step&);
  void ahead_recipient_domain(const Step&);
  void ahead_servers(const Step&);
  void ahead_mx_backup(const Step&);
  void ahead_listed_address(const Step&);
  void ahead_listed_name(const Step&);

  // What the policy protocol and scripts are told (attributes.cc).
  policy::Attributes attributes(std::string_view policy_context);

 private:
  // Of whom a reply speaks: "<name>: Sender address rejected: …".
  struct Subject {
    std::string name;
    std::string_view kind;
  };
  // What an OK from a table is good for.
  enum class Ok { counts, forbidden, suspicious };
  struct Frame {
    const Program* program;
    std::shared_ptr<const Program> owned;   // of a table's result
    std::size_t next = 0;
    Subject subject;
    Ok ok = Ok::counts;
    std::string source, value;              // the table and its result that the list came from, for messages
  };
  struct Descent {
    const Program* program = nullptr;
    std::shared_ptr<const Program> owned;
    Subject subject;
    Ok ok = Ok::counts;
    std::string source, value;
  };
  // What a DNS list is asked about.
  struct Listed {
    std::string what;
    std::string_view kind;
    bool is_address;
    std::string query(const dnsbl::Site& site) const;
  };
  struct HostAddresses {
    net::DnsStatus status = net::DnsStatus::no_name;
    std::vector<std::string> addresses;
  };
  // How far the lists can be seen before they run.
  enum class Ahead { goes_on, list_ends, all_end, unknown };

  // The stages.
  Status client_list();
  Status helo_list();
  Status sender_list();
  Status recipient_lists();
  Status plain_list(const Program& program, const char* name, std::string_view kind);

  Status walk(const Program& program, Subject subject, const Word* bare);
  Status step(const Step& step);
  Status settle_ok(Status status, Ok ok, const std::string& source);
  void reset_list_state();
  void plan();
  void look_ahead();
  Ahead scan(const Program& program, std::size_t from, int depth, bool& met);

  // Refuses, or only logs after warn_if_reject.  `hard` is for faults of ours, which no warn_if_reject
  // softens.
  Status reject(int code, std::string_view dsn, std::string text, bool hard = false);
  Status reject_about(const Subject& subject, int code, std::string_view dsn, std::string_view text);
  Status defer_if_permit(int code, std::string_view dsn, std::string text);
  Status defer_if_reject(int code, std::string_view dsn, std::string text);
  Status config_error(std::string_view warning);
  Status lookup_failure(std::string_view subject, const Error& error);

  // Access tables (access.cc).
  Status check_mail_table(const Step& step, const std::string& address, std::string_view kind);
  Status check_domain_table(const Step& step, std::string_view domain, const Subject& subject, Ok ok, bool& found);
  Status check_address_table(const Step& step, std::string_view address, const Subject& subject, Ok ok, bool& found);
  bool probe(const Step& step, const std::string& key, const Subject& subject, Ok ok, Status& status);
  Status result(const std::string& source, std::string_view value, const Subject& subject, Ok ok);
  Status result_restrictions(const std::string& source, std::string_view value, const Subject& subject, Ok ok);
  bool in_transaction(const std::string& source, std::string_view action);
  std::string fix_dsn(std::string_view dsn, std::string_view kind) const;

  Status reject_bad_name(std::string_view name, const Subject& subject);
  Status reject_bad_literal(std::string_view literal, const Subject& subject);
  Status reject_non_fqdn_address(const std::string& address, std::string_view kind);
  Status reject_unknown_domain(const std::string& address, std::string_view kind);
  Status reject_unlisted(const std::string& address, std::string_view kind);
  struct UnverifiedRules {
    std::int64_t defer_code, reject_code;
    const std::string& reason;
    const std::string& tempfail_action;
  };
  Status reject_unverified(const std::string& address, std::string_view kind, const UnverifiedRules& rules);
  Status dns_trouble(const std::string& action, int code, std::string_view dsn, std::string text);

  // DNS (servers.cc, dns_lists.cc).
  net::DnsAnswer ask(std::string_view name, net::DnsType type, bool* first = nullptr);
  void start(std::string_view name, net::DnsType type);
  void start_domain(std::string_view domain);
  void start_addresses(std::string_view host);
  HostAddresses addresses_of(const std::string& host);
  Subject server_subject(std::string_view word, std::string& name) const;
  bool find_servers(const std::string& name, const std::string& domain, net::DnsType type,
                    std::vector<std::string>& servers);
  bool is_own_host(const std::string& host);
  bool any_own(const std::vector<std::string>& hosts);
  bool all_in_backup_networks(const std::vector<std::string>& hosts);
  std::string mx_trouble(const std::string& text) const;
  Listed listed_address() const;
  Listed listed_name(std::string_view word) const;
  dnsbl::Finding listing(const dnsbl::Site& site, const std::string& query);
  Status reject_listed(const Step& step, const Listed& about);
  Status permit_listed(const Step& step, const Listed& about);
  Status list_reply(const dnsbl::Site& site, const Listed& about, const std::string& query);
  std::optional<std::string> reply_macro(std::string_view name, const dnsbl::Site& site, const Listed& about,
                                         const std::string& text) const;

  // The facts.
  std::string where() const;             // "RCPT": of log lines and of protocol_state
  std::string client_name() const;
  std::string client_address() const;
  std::string client() const;            // "name[address]", with smtpd_client_port_logging ":port"
  const Subject& subject() const { return frames_.back().subject; }
  const log::Logger& log() const;
  void warn(std::string_view text) const;
  void warn_of_old_word(std::string_view name, std::string_view instead) const;
  void log_whatsup(std::string_view what, std::string_view text) const;

  const Rules& rules_;
  const config::Params& params_;
  SessionState& state_;
  filter::Context& context_;
  filter::Stage stage_;
  const mime::Message* message_;

  std::string helo_, protocol_;
  std::optional<std::string> sender_, recipient_;

  std::vector<Frame> frames_;
  const Word* bare_ = nullptr;           // what a table without a word means in the list that runs
  const Word* word_ = nullptr;           // the word that runs
  Descent descent_;
  std::size_t warn_depth_ = 0;           // depth of the warn_if_reject in force; 0: none
  std::optional<Deferral> if_permit_, if_reject_;
  std::vector<const Program*> lists_;    // that run for this command, in order; nullptr: something else in between
  std::size_t list_ = 0;                 // the one that runs
  std::vector<const Step*> seen_ahead_;
  static constexpr std::string_view kScriptDatum = "script";
  std::string datum_;                    // what a table was asked about, for messages
  std::string forbidden_;                // what to say of an OK that must not be
  std::size_t failed_service_ = 0;       // depth of the list whose policy service failed; 0: none
  bool silent_ = false;                  // a trial, see ahead.cc
  bool discard_ = false, recipient_checked_ = false, sender_checked_ = false;
  filter::Verdict verdict_;
};

// A recipient with routing in its local part ends up nobody knows where.
bool is_source_routed(std::string_view address);
// RFC 7505; as in Postfix also among other exchangers.
bool is_null_mx(const net::DnsAnswer& answer);

}  // namespace millrace::restrict
