#include "core/daemon/child.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <malloc.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

namespace millrace::daemon {

Result<Child> spawn_child(Child::Kind kind, int slot, unsigned generation,
                          const std::function<int(int channel, int commands)>& body) {
  int ends[2], command_ends[2] = {-1, -1};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    return fail(Errc::io, fmt::format("socketpair: {}", std::strerror(errno)));
  }
  if (kind == Child::Kind::queue && ::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, command_ends) != 0) {
    const int error = errno;
    ::close(ends[0]);
    ::close(ends[1]);
    return fail(Errc::io, fmt::format("socketpair: {}", std::strerror(error)));
  }
  const pid_t pid = ::fork();
  if (pid < 0) {
    const int error = errno;
    for (const int fd : {ends[0], ends[1], command_ends[0], command_ends[1]}) ::close(fd);
    return fail(Errc::io, fmt::format("fork: {}", std::strerror(error)));
  }
  if (pid == 0) {
    ::close(ends[0]);
    if (command_ends[0] >= 0) ::close(command_ends[0]);
    for (const int number : {SIGTERM, SIGCHLD, SIGUSR1}) ::signal(number, SIG_DFL);
    for (const int number : {SIGINT, SIGHUP, SIGPIPE}) ::signal(number, SIG_IGN);
    sigset_t none;
    sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    ::mallopt(M_ARENA_MAX, 2);  // what TLS handshakes on worker threads free is not kept once per thread
    ::_exit(body(ends[1], command_ends[1]));
  }
  ::close(ends[1]);
  if (command_ends[1] >= 0) ::close(command_ends[1]);
  ::fcntl(ends[0], F_SETFL, O_NONBLOCK);
  Child child;
  child.kind = kind;
  child.slot = slot;
  child.generation = generation;
  child.pid = pid;
  child.channel = ends[0];
  child.commands = command_ends[0];
  child.started = SteadyClock::now();
  return child;
}

Result<Owner> find_owner(const config::Config& config) {
  const auto by_name = [](const std::string& name) -> std::optional<Owner> {
    const passwd* entry = ::getpwnam(name.c_str());
    if (entry == nullptr) return std::nullopt;
    return Owner{entry->pw_uid, entry->pw_gid, name};
  };
  std::string wanted = config.params().mail_owner;
  std::optional<Owner> owner = by_name(wanted);
  if (!owner && !config.is_set("mail_owner")) owner = by_name(wanted = "millrace");
  if (::geteuid() != 0) {
    const passwd* self = ::getpwuid(::geteuid());
    if (config.is_set("mail_owner") && (!owner || owner->uid != ::geteuid())) {
      return fail(Errc::config, fmt::format("mail_owner: {}: started without root, cannot become this user",
                                            config.params().mail_owner));
    }
    return Owner{::geteuid(), ::getegid(), self != nullptr ? self->pw_name : "self"};
  }
  if (!owner) return fail(Errc::config, fmt::format("mail_owner: unknown user: {}", wanted));
  return *owner;
}

Result<gid_t> find_drop_group(const config::Config& config, const Owner& owner) {
  const std::string& name = config.params().setgid_group;
  if (const group* entry = ::getgrnam(name.c_str())) return entry->gr_gid;
  if (config.is_set("setgid_group") && ::geteuid() == 0) {
    return fail(Errc::config, fmt::format("setgid_group: unknown group: {}", name));
  }
  return owner.gid;
}

Result<void> become(const Owner& owner) {
  if (::geteuid() != 0 || owner.uid == 0) return {};
  if (::setgroups(0, nullptr) != 0 || ::setresgid(owner.gid, owner.gid, owner.gid) != 0 ||
      ::setresuid(owner.uid, owner.uid, owner.uid) != 0 || ::setuid(0) == 0) {
    return fail(Errc::io, fmt::format("cannot become {}: {}", owner.name, std::strerror(errno)));
  }
  ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  ::prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);  // core files and /proc/self/fd links stay ours after the change
  return {};
}

}  // namespace millrace::daemon
