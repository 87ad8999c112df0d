// What the operator wants of SPF: the keys of plugin:spf, which are policyd-spf.conf(5)'s names.  Pure.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "plugins/spf/address.h"

namespace millrace::spf {

// Which results are refused: none; fail; and softfail; and neutral.
enum class Refuse { no_check, never, null_sender, fail, softfail, not_pass };
enum class Engine { own, libspf2 };
enum class HeaderType { spf, auth_results, none };

struct Settings {
  int log_level = 1;                      // debugLevel: 0 errors, 1 results, 2 each check
  bool test_only = false;                 // TestOnly = 0
  bool mock = false;                      // Mock: DUNNO to everything
  Refuse helo = Refuse::fail, mail_from = Refuse::fail;
  std::string helo_pass, mail_from_pass;  // …_pass_restriction
  bool no_mail = false;                   // refuse only what says "v=spf1 -all"
  std::vector<std::string> not_pass_domains;
  bool permerror_reject = false, temperror_defer = false;
  std::optional<Address> prospective;
  std::vector<Network> skip_addresses, whitelist;
  std::vector<std::string> helo_whitelist, domain_whitelist, ptr_whitelist;
  bool enhanced_codes = true;
  Engine engine = Engine::own;
  HeaderType header = HeaderType::spf;
  bool hide_receiver = false;
  std::string authserv_id;                // "": the host's
  unsigned lookup_seconds = 20, whitelist_seconds = 10, void_limit = 2;
  std::string per_user;                   // Per_User: the file; "": none
  std::string reason = "Message {rejectdefer} due to: {spf}. Please see {url}";
};

using Keys = std::map<std::string, std::string>;
// What is wrong, or the settings.
std::variant<Settings, std::string> parse_settings(const Keys& keys);

// policyd-spf.peruser(5): lines "recipient,Key=value|Key=value", "#" begins a comment.  Settings by recipient in lower
// case, each the `keys` of all with its own put over them; or what is wrong, with its line.  The first line of a
// recipient counts.
using PerUser = std::map<std::string, Settings>;
std::variant<PerUser, std::string> parse_per_user(std::string_view text, const Keys& keys);

// For the descriptor: each key with its type, default and meaning.
extern const char* const kSchema;

}  // namespace millrace::spf
