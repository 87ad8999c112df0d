// A task in the master's child: what a request asks for, done with the rights that the configuration names.
//
// Everything but envelope values comes from `config`: the command, the user, tables and paths.  The process
// gives up root before it runs or opens anything that an ordinary user could have put there.
#pragma once

#include <span>

#include "core/config/config.h"
#include "core/local/frame.h"

namespace millrace::local {

// Who must never be impersonated beside root.
struct Rulers {
  uid_t mail_owner = 0;
  bool has_root = true;   // false: there is nothing to guard, all runs as one user
};

// How many descriptors a request of that kind brings.
constexpr std::size_t kTaskDescriptors = 2;

// Runs in a fresh child and does not return.  `fds` as TaskKind says.
[[noreturn]] void run_task(const config::Config& config, const config::Service& service, const Request& request,
                           std::span<const int> fds, const Rulers& rulers);
// The command of a spawn service with the client's socket as its standard input, output and error.
[[noreturn]] void run_spawn(const config::Config& config, const config::Service& service, int client, const Rulers& rulers);

// Is this request one that the service can do? "" or why not.
std::string refuse_task(const config::Service& service, const Request& request, std::size_t descriptors);

// What can be wrong with the pipe and spawn services: attributes, users that may not be used.  A user that
// does not exist is a warning: Debian's master.cf names some.
void check_commands(const config::Config& config, const Rulers& rulers, config::Findings& findings);

}  // namespace millrace::local
