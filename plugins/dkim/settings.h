// What the operator wants: keys of plugin:dkim/verify and plugin:dkim/sign.  Pure.
#pragma once

#include <array>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "plugins/dkim/engine.h"

namespace millrace::dkim {

enum class Action { accept, reject, tempfail, quarantine, discard };

struct VerifySettings {
  bool use_opendkim = false;
  unsigned max_signatures = 10, min_key_bits = 1024, lookup_seconds = 20;
  bool accept_partial = true, accept_sha1 = false;
  std::array<Action, 7> actions{};   // by Result
  std::string authserv_id;
  bool log_results = true;
};
std::variant<VerifySettings, std::string> parse_verify_settings(const std::map<std::string, std::string>& keys);
extern const char* const kVerifySchema;

struct Network {
  std::string bytes;     // 4 or 16
  unsigned length = 0;
  bool is_excluded = false;
};
// An address as inet_pton takes it; "" when it is none.  An IPv4-mapped IPv6 address is the IPv4 address.
std::string address_bytes(std::string_view text);
// "192.0.2.0/24, !192.0.2.7, ::1": the most specific entry that fits decides.
std::variant<std::vector<Network>, std::string> parse_networks(std::string_view text);
bool is_in(const std::vector<Network>& networks, std::string_view address);

struct SignSettings {
  bool use_opendkim = false, sign_authenticated = true, all_matches = false;
  std::vector<Network> internal;
  std::string key_table, signing_table;   // paths; signing_table may begin with "refile:" or "file:"
  std::vector<std::string> domains;       // in place of tables
  std::string selector, key_file;
  SignPolicy policy;
};
std::variant<SignSettings, std::string> parse_sign_settings(const std::map<std::string, std::string>& keys);
extern const char* const kSignSchema;

// What a message comes to by what its signatures come to: pass when one passes, else what might still pass later,
// else the best of the rest.  A failing signature whose key is for testing counts as none.
std::size_t decisive(const std::vector<Finding>& findings);   // its index; SIZE_MAX: none counts
// Rules of this host over what an engine found.
void apply_policy(const VerifySettings& settings, const std::vector<Signature>& signatures, std::vector<Finding>& findings);

}  // namespace millrace::dkim
