// What all sessions of one smtpd service in one process share: its parameters, tables, chain and helpers,
// built once at start.  Immutable but for the two atomics.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/log.h"
#include "core/config/config.h"
#include "core/filter/chain.h"
#include "core/map/table.h"
#include "core/mime/builder.h"
#include "core/mime/cleanup.h"
#include "core/net/dns.h"
#include "core/net/tls.h"
#include "core/rewrite/cleanup.h"
#include "core/rewrite/router.h"
#include "core/smtp/anvil.h"
#include "core/smtp/proxy_filter.h"
#include "core/smtp/sink.h"

namespace millrace::smtp {

// EHLO keywords that can be hidden (smtpd_discard_ehlo_keywords), as a bit set.
enum Keyword : unsigned {
  kPipelining = 1, kSize = 2, kVrfy = 4, kEtrn = 8, kStarttls = 16, kAuth = 32, kXverp = 64, kXclient = 128,
  kXforward = 256, kEnhancedStatusCodes = 512, kEightBitMime = 1024, kDsn = 2048, kSmtpUtf8 = 4096,
  kChunking = 8192, kSilentDiscard = 16384,
};
// The bit set of a list of keywords; words that are none go to `unknown`.
unsigned parse_keywords(std::string_view text, std::vector<std::string>* unknown);
// "SIZE CHUNKING": names of the bits but silent-discard.
std::string keyword_names(unsigned keywords);

// What to do about lines that end in LF alone (smtpd_forbid_bare_newline).
enum class BareNewline { no, normalize, note, reject };

// What a service is made of.  What is not owned must outlive the context.
struct ServiceParts {
  std::shared_ptr<const config::Config> config;
  const config::Service* service = nullptr;         // the master.cf entry
  map::TableSet* tables = nullptr;
  std::shared_ptr<const rewrite::Router> router;
  filter::Chain chain;                              // restrictions, policy, milters, checks, in order
  MessageSink* sink = nullptr;
  net::Resolver* resolver = nullptr;                // null: clients have no names
  AnvilTable* anvil = nullptr;                      // null: nothing is counted
  unsigned process = 0;                             // which of AnvilTable's processes we are
  filter::TraceSink* trace = nullptr;
  std::shared_ptr<net::TlsContext> tls;             // null: built from the parameters when they want TLS
  // ETRN: asks for delivery to a destination that fast_flush_domains has; null: "458 Unable to queue".
  std::function<bool(const std::string& destination)> flush_site;
};

struct ServiceContext {
  // Opens tables and keys; start-up errors and warnings go to `findings` with their parameter's name.
  // nullptr after an error.
  static std::shared_ptr<ServiceContext> make(ServiceParts parts, config::Findings& findings);

  std::shared_ptr<const config::Params> params;
  std::string name;                  // as in master.cf
  log::Logger log, cleanup_log;      // programs smtpd and cleanup
  filter::Chain chain;
  // The chain of a client (smtpd_milter_maps); null: `chain`.  What it gives lives as long as this.
  std::function<const filter::Chain*(const std::string& client_address)> chain_for;
  MessageSink* sink = nullptr;
  net::Resolver* resolver = nullptr;
  filter::TraceSink* trace = nullptr;
  std::shared_ptr<const rewrite::Router> router;
  std::shared_ptr<const rewrite::Cleanup> rewriting;
  unsigned notify = 0;               // notify_classes that sessions tell the postmaster about; see transcript.h
  std::optional<ProxySettings> proxy;   // smtpd_proxy_filter: messages go there and not to the sink
  bool address_mappings = true;      // false: receive_override_options has no_address_mappings
  std::optional<Anvil> anvil;
  std::uint32_t session_limit = 0;   // maxproc over all processes; 0: none
  std::function<bool(const std::string&)> flush_site;

  std::shared_ptr<net::TlsContext> tls;   // null: not offered
  bool enforce_tls = false;

  BareNewline bare_newline = BareNewline::normalize;
  map::MatchList bare_newline_exclusions, event_limit_exceptions;
  map::MatchList xclient_hosts, xforward_hosts, verp_clients, flush_domains;
  bool rewrites_remote_headers = false;   // remote_header_rewrite_domain is set
  map::MatchList debug_peers;      // whose sessions are logged line by line; with -v all are
  int verbosity = 0;
  map::MatchList noop_commands, forbidden_commands;
  map::Maps discard_keyword_maps, command_filter;
  unsigned discard_keywords = 0;
  mime::CharacterSet strip_characters, reject_characters, expansion_filter;
  mime::HeaderPolicy header_policy;       // add_missing holds for all clients when set
  mime::BuilderLimits builder_limits;

  // local_header_rewrite_clients: is mail of this client ours to complete?
  struct LocalRule {
    enum class Kind { inet_interfaces, mynetworks, sasl, table } kind;
    map::MatchList list;
    map::Maps maps;
  };
  std::vector<LocalRule> local_rules;
  bool is_local_client(std::string_view socket_address, const filter::SessionFacts& facts) const;

  unsigned next_session_number() const;
  // smtpd_reject_footer with its $names; `lookup` gives values from the session, which are filtered here.
  std::string expand_footer(const std::function<std::optional<std::string>(std::string_view)>& lookup) const;

  mutable std::atomic<unsigned> numbers{0};   // without anvil
  std::atomic<bool> stopping{false};          // sessions say 421 at their next command
};

}  // namespace millrace::smtp
