#include "core/local/user_command.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

#include "core/base/clock.h"
#include "core/base/strings.h"
#include "core/local/alias_list.h"
#include "core/local/mailbox.h"
#include "core/local/task_files.h"

namespace millrace::local {
namespace {

using std::chrono::milliseconds;

[[noreturn]] void become_command(const UserCommand& command, int input, int output) {
  const int places[] = {input, output, output};
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  arrange_descriptors(places);
  ExecPlan plan;
  plan.program = "local";
  plan.environment = command.environment;
  plan.identity = command.identity;
  plan.directory = command.directory;
  if (!command.shell.empty()) {
    for (const std::string_view word : split(command.shell, " \t\r\n")) plan.argv.emplace_back(word);
    plan.argv.push_back(command.text);
    exec_command(plan);
  }
  plan.argv = plain_command(command.text);
  // Without a shell where that will do; a name that is no program may be one of the shell's own words.
  const bool direct = !plan.argv.empty() && (plan.argv[0].find('/') != std::string::npos ||
                                             ::access(("/usr/bin/" + plan.argv[0]).c_str(), X_OK) == 0 ||
                                             ::access(("/bin/" + plan.argv[0]).c_str(), X_OK) == 0);
  if (!direct) plan.argv = {"/bin/sh", "-c", command.text};
  exec_command(plan);
}

CommandEnd not_started(const std::string& what) {
  CommandEnd end;
  end.wait_status = EX_TEMPFAIL << 8;
  end.output = what + ": " + std::strerror(errno);
  return end;
}

}  // namespace

CommandEnd run_user_command(const UserCommand& command, int message, const CopyOptions& options) {
  File text(::memfd_create("message", MFD_CLOEXEC));
  if (text.get() < 0) return not_started("make a file for the message");
  if (const std::string problem = copy_message(message, text.get(), options); !problem.empty()) return not_started(problem);
  const std::string self = "/proc/self/fd/" + std::to_string(text.get());
  File input(::open(self.c_str(), O_RDONLY | O_CLOEXEC));
  int ends[2];
  if (input.get() < 0 || ::pipe2(ends, O_CLOEXEC) != 0) return not_started("pipe");
  File reading(ends[0]), writing(ends[1]);
  const pid_t pid = ::fork();
  if (pid < 0) return not_started("fork");
  if (pid == 0) become_command(command, input.get(), writing.get());
  writing.reset();
  ::fcntl(reading.get(), F_SETFL, O_NONBLOCK);

  CommandEnd end;
  end.command = command.text;
  const TimePoint limit = SteadyClock::now() + command.limit;
  bool open = true;
  for (;;) {
    const bool ended = ::waitpid(pid, &end.wait_status, WNOHANG) == pid;
    char buffer[4096];
    ssize_t n = 0;
    while (open && (n = ::read(reading.get(), buffer, sizeof buffer)) > 0) {
      end.output.append(buffer, std::min(static_cast<std::size_t>(n), kMaxOutput - end.output.size()));
    }
    if (n == 0) open = false;
    if (ended) break;
    if (SteadyClock::now() >= limit) {
      end.timed_out = true;
      ::kill(-pid, SIGKILL);
      ::kill(pid, SIGKILL);
      ::waitpid(pid, &end.wait_status, 0);
      break;
    }
    pollfd watched{open ? reading.get() : -1, POLLIN, 0};
    ::poll(&watched, 1, 20);   // the end of the command is no event here
  }
  return end;
}

}  // namespace millrace::local
