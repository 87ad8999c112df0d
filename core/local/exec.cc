#include "core/local/exec.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sysexits.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "core/base/strings.h"

namespace millrace::local {
namespace {
constexpr char kPath[] = "/usr/bin:/bin";
}

Environment command_environment(const config::Config& config, const Environment& more) {
  Environment out = {{"PATH", kPath}};
  const auto set = [&out](const std::string& name, const std::string& value) {
    for (auto& [key, old] : out) {
      if (key == name) {
        old = value;
        return;
      }
    }
    out.emplace_back(name, value);
  };
  const std::string import_list = config.value("import_environment").value_or("");
  const auto imported = [&](const std::string& name) -> std::optional<std::string> {
    for (const std::string_view word : split(import_list, ", \t\r\n")) {
      const std::size_t equals = word.find('=');
      if (word.substr(0, equals) != name) continue;
      if (equals != word.npos) return std::string(word.substr(equals + 1));
      const char* value = ::getenv(name.c_str());
      return value != nullptr ? std::optional<std::string>(value) : std::nullopt;
    }
    return std::nullopt;
  };
  const std::string exported = config.value("export_environment").value_or("TZ MAIL_CONFIG LANG");
  for (const std::string_view word : split(exported, ", \t\r\n")) {
    const std::size_t equals = word.find('=');
    const std::string name(word.substr(0, equals));
    if (equals != word.npos) {
      set(name, std::string(word.substr(equals + 1)));
    } else if (name == "MAIL_CONFIG") {
      set(name, config.directory());
    } else if (const auto value = imported(name)) {
      set(name, *value);
    }
  }
  for (const auto& [name, value] : more) set(name, value);
  return out;
}

void arrange_descriptors(std::span<const int> fds) {
  // First out of the way of the places they go to.
  std::vector<int> high;
  for (const int fd : fds) {
    const int moved = ::fcntl(fd, F_DUPFD_CLOEXEC, 64);
    if (moved < 0) ::_exit(EX_TEMPFAIL);   // a program must never find something else in these places
    high.push_back(moved);
  }
  for (std::size_t i = 0; i < high.size(); ++i) {
    if (::dup2(high[i], static_cast<int>(i)) < 0) ::_exit(EX_TEMPFAIL);
  }
  ::syscall(SYS_close_range, static_cast<unsigned>(fds.size()), ~0U, 0U);
}

void new_session() {
  ::setsid();
  for (const int number : {SIGTERM, SIGCHLD, SIGUSR1, SIGINT, SIGHUP, SIGPIPE, SIGALRM}) ::signal(number, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

void give_up(const std::string& program, const std::string& text) {
  const std::string line = program + ": fatal: " + text + "\n";
  (void)!::write(2, line.data(), line.size());
  ::_exit(EX_TEMPFAIL);
}

void exec_command(const ExecPlan& plan) {
  const auto error = [] { return std::string(std::strerror(errno)); };
  if (!plan.chroot.empty() && (::chroot(plan.chroot.c_str()) != 0 || ::chdir("/") != 0)) {
    give_up(plan.program, "cannot change root to " + plan.chroot + ": " + error());
  }
  if (const auto taken = take_identity(plan.identity); !taken) give_up(plan.program, taken.error().context);
  if (!plan.directory.empty() && ::chdir(plan.directory.c_str()) != 0) {
    give_up(plan.program, "cannot change directory to " + plan.directory + " for uid=" + std::to_string(plan.identity.uid) +
                              " gid=" + std::to_string(plan.identity.gid) + ": " + error());
  }
  std::vector<std::string> settings;
  for (const auto& [name, value] : plan.environment) settings.push_back(name + "=" + value);
  std::vector<char*> argv, environment;
  for (const std::string& word : plan.argv) argv.push_back(const_cast<char*>(word.c_str()));
  for (const std::string& one : settings) environment.push_back(const_cast<char*>(one.c_str()));
  argv.push_back(nullptr);
  environment.push_back(nullptr);
  ::umask(077);
  ::setenv("PATH", kPath, 1);   // execvpe searches the caller's
  ::execvpe(argv[0], argv.data(), environment.data());
  give_up(plan.program, plan.program + "_command: execvp " + plan.argv[0] + ": " + error());
}

}  // namespace millrace::local
