// The parameters of an smtp or lmtp client (smtp(8)), read once for each transport: smtp_NAME or
// lmtp_NAME, with the transport's -o values on top.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "core/config/config.h"
#include "core/rewrite/generic.h"

namespace millrace::deliver {

struct OutputChecks;

struct ClientOptions {
  bool lmtp = false;
  std::string my_name = "localhost";      // myhostname
  std::string helo_name = "localhost";
  std::uint16_t default_port = 25;
  bool use_ipv4 = true, use_ipv6 = true;
  enum class Prefer { any, ipv4, ipv6 } prefer = Prefer::any;
  bool balance_protocols = true;
  bool randomize = true;
  bool use_dns = true, use_native = false;      // smtp_host_lookup, disable_dns_lookups
  bool defer_without_mx_address = false, ignore_mx_error = false;
  std::size_t address_limit = 5, session_limit = 2;
  std::string bind_address, bind_address6;
  std::string fallback_relay;
  std::string relayhost;                        // a next hop whose troubles are never the mail's
  std::string best_mx_transport;                // takes mail that would loop; "": it bounces
  std::shared_ptr<const rewrite::GenericMaps> generic;   // nullptr: none; set by the engine
  std::vector<std::string> own_addresses;       // for the loop test

  std::chrono::seconds connect_timeout{30}, helo_timeout{300}, mail_timeout{300}, rcpt_timeout{300},
      data_init_timeout{120}, data_xfer_timeout{180}, data_done_timeout{600}, quit_timeout{300},
      rset_timeout{20}, starttls_timeout{300}, xforward_timeout{300};

  bool always_ehlo = true, never_ehlo = false;
  bool skip_5xx_greeting = true, skip_quit_response = true;
  bool quote_envelope = true;
  bool send_xforward = false;
  std::size_t line_length_limit = 998;
  std::vector<std::string> discard_keywords;
  std::shared_ptr<const OutputChecks> output_checks;   // null: mail goes out as it is
  std::chrono::seconds minimal_backoff{300};    // a failed handshake is followed by plain text after it

  bool cache_on_demand = true;
  std::vector<std::string> cache_destinations;
  std::chrono::seconds cache_time{2}, reuse_time{300};
  std::uint64_t reuse_count = 0;                // 0: no limit

  struct Tls {
    std::string level;                          // none may encrypt
    std::string policy_maps;
    std::string ca_file, ca_path, cert_file, key_file;
    std::string protocols, mandatory_protocols, ciphers, mandatory_ciphers;
    std::string exclude_ciphers, mandatory_exclude_ciphers;
    int log_level = 0;
    bool note_offer = false;
  } tls;

  bool trace = false;                           // -v: conversations are logged line by line
  // debug_peer_list: those with these peers are.  Empty: with nobody.
  std::function<bool(const std::string& name, const std::string& address)> trace_peer;
};

// Errors: config, naming the parameter: what is set there would change what is protected or delivered.
Result<ClientOptions> read_client_options(const config::Config& config, const config::Service& service);

// Addresses that are this machine's (inet_interfaces, proxy_interfaces).
std::vector<std::string> own_addresses(const config::Config& config);

}  // namespace millrace::deliver
