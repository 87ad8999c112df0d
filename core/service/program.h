// A program of its own that serves filters: what `millrace policyd` and `millrace milter` share.
//
//   millrace NAME [--socket unix:PATH|inet:HOST:PORT …] [--mode 0660] [--group G] [--user U] [--plugins DIR]
//                 [--resolv-conf FILE] [--config FILE] FILTER…
//
// FILTER is plugin:NAME or a { plugin:NAME, key=value } block; FILE, for programs that take it,
// holds "key = value" lines for all of them.  Sockets
// are opened, then root's rights are given up.  SIGTERM: no new connections, what is under way ends, then the program.
// SIGHUP: FILE and the plugins' files are read again; what does not work is logged and changes nothing.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/log.h"
#include "core/base/result.h"
#include "core/config/config.h"
#include "core/net/stream.h"
#include "core/plugin/instance.h"
#include "core/service/sockets.h"

namespace millrace::service {

struct Options {
  std::vector<std::string> sockets, filters;
  SocketOptions socket;
  std::string user, config, plugins, resolv_conf = "/etc/resolv.conf";
  std::map<std::string, std::string> more;   // those of ProgramTraits::more that were given
};

// What filters are made of.
struct Parts {
  const Options& options;
  const config::Params& params;              // of main.cf, where there is one
  plugin::Host host;
  std::map<std::string, std::string> keys;   // of --config
};

// What is served.  All calls on one loop.
class Role {
 public:
  virtual ~Role() = default;
  // Makes filters and takes them in place of those so far; an error changes nothing.
  virtual Result<void> build(Parts parts) = 0;
  virtual void serve(std::unique_ptr<net::Stream> stream) = 0;   // one connection to its end [fiber]
  virtual void drain() = 0;
  virtual std::size_t connections() const = 0;
};

struct ProgramTraits {
  std::string name;                          // "policyd"; lines are logged as millrace/NAME
  std::vector<std::string> more;             // options of its own, each with a value: "--spool"
  std::string usage;                         // what the usage line says of them
  bool config_file = false;                  // takes --config
  bool standard_input = false;               // without sockets: serves standard input, as spawn(8) has it
  std::function<std::unique_ptr<Role>(const log::Logger&)> make;
};

int run_program(const ProgramTraits& traits, int argc, char** argv, const std::string& config_directory);

// "key = value" lines; "#" begins a comment at the start of a line or after white space.  Error config: the line that
// is none.  Pure.
Result<std::map<std::string, std::string>> parse_config(std::string_view text);

}  // namespace millrace::service
