// "|command" and mailbox_command of a local delivery, run by a process that has the recipient's rights.
// Blocking: for the master's children alone.
#pragma once

#include <chrono>
#include <string>

#include "core/local/exec.h"
#include "core/local/exit_status.h"
#include "core/local/message_copy.h"

namespace millrace::local {

struct UserCommand {
  std::string text;             // as the administrator or user wrote it
  std::string shell;            // local_command_shell
  Environment environment;
  std::string directory;
  Identity identity;            // that the process has
  std::chrono::seconds limit{1000};
};
// The message is read from `message`.
CommandEnd run_user_command(const UserCommand& command, int message, const CopyOptions& options);

}  // namespace millrace::local
