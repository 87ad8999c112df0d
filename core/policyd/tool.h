// `millrace policyd`: the policy service as a program.
//
//   millrace policyd [--socket unix:PATH|inet:HOST:PORT …] [--mode 0660] [--group G] [--user U] [--config FILE]
//                    [--plugins DIR] [--resolv-conf FILE] FILTER…
//
// Without --socket it serves the sockets that systemd gives it, or else standard input (Postfix spawn(8)).  FILTER is
// plugin:NAME or a { plugin:NAME, key=value } block; FILE holds "key = value" lines for all of them.
// SIGTERM: no new connections, requests under way are answered, then it ends.  SIGHUP: FILE and the plugins' files
// are read again; what does not work is logged and changes nothing.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "core/base/result.h"

namespace millrace::policyd {

int policyd_main(int argc, char** argv, const std::string& config_directory);

// "key = value" lines; "#" begins a comment at the start of a line or after white space.  Error config: the line that
// is none.  Pure.
Result<std::map<std::string, std::string>> parse_config(std::string_view text);

}  // namespace millrace::policyd
