// Macros: the facts that go before each event ("{client_addr}", "i", "{rcpt_mailer}"), which of them when,
// and where their values come from (Postfix's MILTER_README, "What macros will Postfix send to Milters").
#pragma once

#include <array>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/filter/chain.h"
#include "core/milter/wire.h"

namespace millrace::milter {

// Where mail for an address goes: for {mail_addr} {mail_host} {mail_mailer} and the {rcpt_…} ones.
struct Hop {
  std::string address;          // rewritten, in external (quoted) form, without angle brackets
  std::string mailer, host;     // transport and next hop
};

struct MacroSettings {
  std::string host_name;        // j: myhostname
  std::string daemon_name;      // milter_macro_daemon_name
  std::string version;          // v: milter_macro_v
  std::array<std::vector<std::string>, kMacroStages> lists;    // names with their braces
  std::vector<std::pair<std::string, std::string>> defaults;   // milter_macro_defaults, same spelling
  // Of an address in internal form; may suspend.  Without it the macros named above have no host and
  // mailer, and the address is as the client typed it.
  std::function<std::optional<Hop>(std::string_view address, bool is_sender)> route;
};

// "j {daemon_name}, v" as names.
std::vector<std::string> parse_macro_names(std::string_view list);

// Appends a macro packet for `command`.  Returns whether it holds any macro.
bool encode_macros(const MacroSettings& settings, const std::vector<std::string>& names, char command,
                   const filter::Context& context, MacroStage stage, std::string& out);

}  // namespace millrace::milter
