// Becoming another program, in a freshly forked child of the master.
#pragma once

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/config/config.h"
#include "core/local/identity.h"

namespace millrace::local {

using Environment = std::vector<std::pair<std::string, std::string>>;

// PATH, what export_environment names, and `more`.
Environment command_environment(const config::Config& config, const Environment& more = {});

struct ExecPlan {
  std::vector<std::string> argv;
  Environment environment;
  Identity identity;
  std::string chroot, directory;   // "": none; where it runs, within chroot
  std::string program;             // for messages: "pipe"
};

// Puts descriptors fds[0], fds[1] … in the places 0, 1 … and closes all others.
void arrange_descriptors(std::span<const int> fds);
// A session of its own (so that a time limit ends all it starts), signals as a new program expects them.
void new_session();
// Directory, rights, environment, program.  A failure is a line on standard error and exit status 75
// (EX_TEMPFAIL): the mail is tried again.
[[noreturn]] void exec_command(const ExecPlan& plan);
// "PROGRAM: fatal: TEXT" on standard error, and exit status 75.
[[noreturn]] void give_up(const std::string& program, const std::string& text);

}  // namespace millrace::local
