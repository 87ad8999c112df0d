#include "core/daemon/control.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "core/base/strings.h"
#include "core/daemon/check_files.h"
#include "core/daemon/front.h"
#include "core/daemon/master.h"
#include "core/daemon/metrics.h"
#include "core/daemon/notify.h"
#include "core/local/task.h"
#include "core/daemon/queue_role.h"
#include "core/map/table.h"
#include "core/queue/paths.h"
#include "core/smtp/anvil.h"
#include "core/submit/pickup.h"

namespace millrace::daemon {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

void say(const std::string& text) { fmt::print(stderr, "millrace: {}\n", text); }

std::string pid_path(const config::Config& config) { return config.params().queue_directory + "/pid/master.pid"; }

std::shared_ptr<const config::Config> load(const std::string& directory, config::Findings& findings) {
  auto config = config::Config::load(directory, findings);
  for (const auto& line : findings.lines) {
    say(fmt::format("{}: {}", line.is_error ? "fatal" : "warning", line.to_text()));
  }
  return config;
}

// The lock on pid/master.pid that a running master holds; Postfix's master takes the same one, so the
// two never share a queue directory.
class PidFile {
 public:
  Result<void> open(const std::string& path, bool create) {
    path_ = path;
    fd_ = ::open(path.c_str(), (create ? O_CREAT : 0) | O_RDWR | O_CLOEXEC, 0644);
    if (fd_ < 0) return fail(Errc::io, fmt::format("{}: {}", path, std::strerror(errno)));
    return {};
  }
  ~PidFile() {
    if (fd_ >= 0) ::close(fd_);
  }
  bool try_lock() const { return ::flock(fd_, LOCK_EX | LOCK_NB) == 0; }
  pid_t read_pid() const {
    char text[32] = {};
    const ssize_t n = ::pread(fd_, text, sizeof text - 1, 0);
    return n > 0 ? static_cast<pid_t>(parse_number<unsigned>(trim(std::string_view(text, n))).value_or(0)) : 0;
  }
  void write_pid() const {
    const std::string text = fmt::format("{:>11}\n", ::getpid());
    (void)!::ftruncate(fd_, 0);
    (void)!::pwrite(fd_, text.data(), text.size(), 0);
  }

 private:
  std::string path_;
  int fd_ = -1;
};

// Takes the lock.  Children of a master that was killed still hold it, and the sockets, until they notice:
// then it is waited for, for 5 s.
bool take_over(const PidFile& lock) {
  for (int i = 0; i < 500; ++i) {
    if (lock.try_lock()) return true;
    const pid_t pid = lock.read_pid();
    if (pid <= 0 || ::kill(pid, 0) == 0 || errno != ESRCH) return false;
    std::this_thread::sleep_for(milliseconds(10));
  }
  return false;
}

// The process id of the running master; 0 when there is none.
pid_t running_master(const config::Config& config) {
  PidFile file;
  if (!file.open(pid_path(config), false) || file.try_lock()) return 0;
  return file.read_pid();
}

int cpu_count() {
  cpu_set_t set;
  if (::sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  return std::min(CPU_COUNT(&set), kMaxFronts);
}

Result<Setup> make_setup(const std::shared_ptr<const config::Config>& config, config::Findings& findings) {
  Setup setup;
  setup.config = config;
  const auto owner = find_owner(*config);
  if (!owner) return tl::unexpected(owner.error());
  setup.owner = *owner;
  setup.plan = plan_listeners(*config, findings);
  setup.spawn_plan = plan_listeners(*config, findings, "spawn");
  local::check_commands(*config, {owner->uid, ::geteuid() == 0}, findings);
  setup.fronts = cpu_count();
  return setup;
}

// Sessions need descriptors: the soft limit goes up to the hard one.
void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
  }
}

// Of the environment, what import_environment names stays; NAME=VALUE sets it.
void import_environment(const std::string& list) {
  std::vector<std::pair<std::string, std::string>> kept;
  for (const std::string& word : map::split_list(list)) {
    const std::string text = word.starts_with('{') && word.ends_with('}') ? std::string(trim(word.substr(1, word.size() - 2))) : word;
    const std::size_t equals = text.find('=');
    if (equals != text.npos) {
      kept.emplace_back(trim(text.substr(0, equals)), trim(text.substr(equals + 1)));
    } else if (const char* value = std::getenv(text.c_str())) {
      kept.emplace_back(text, value);
    }
  }
  ::clearenv();
  for (const auto& [name, value] : kept) ::setenv(name.c_str(), value.c_str(), 1);
}

int refuse(const std::string& why) {
  say("fatal: " + why);
  log::Logger("postfix/master").fatal(why);
  return 1;
}

int serve(const std::string& config_directory, bool foreground, int ready_fd) {
  config::Findings findings;
  const auto config = load(config_directory, findings);
  if (findings.has_errors()) return 1;
  const std::size_t reported = findings.lines.size();
  auto setup = make_setup(config, findings);
  if (!setup) return refuse(setup.error().context);
  for (std::size_t i = reported; i < findings.lines.size(); ++i) {
    say((findings.lines[i].is_error ? "fatal: " : "warning: ") + findings.lines[i].to_text());
  }
  if (findings.has_errors()) return 1;
  if (auto made = make_directories(*config, setup->owner); !made) return refuse(made.error().context);
  auto log_options = open_log(*config, foreground);
  if (!log_options) return refuse(log_options.error().context);
  log::open(*log_options);
  setup->log_options = *log_options;
  const log::Logger log = logger_for(*config, "master");
  for (const auto& line : findings.lines) {
    log.warning(line.to_text());
  }
  PidFile lock;
  if (auto opened = lock.open(pid_path(*config), true); !opened) return refuse(opened.error().context);
  if (!take_over(lock)) {
    return refuse(fmt::format("a mail system is already running on {} (process {})",
                              config->params().queue_directory, lock.read_pid()));
  }
  lock.write_pid();
  find_service_manager();
  import_environment(config->params().import_environment);
  raise_descriptor_limit();
  Listeners listeners;
  if (auto opened = listeners.open(setup->plan); !opened) return refuse(opened.error().context);
  if (auto opened = listeners.open(setup->spawn_plan); !opened) return refuse(opened.error().context);
  for (const ListenPlan& place : setup->plan) setup->listening.push_back(listeners.fd(place.at));
  for (const ListenPlan& place : setup->spawn_plan) setup->spawn_listening.push_back(listeners.fd(place.at));
  setup->shared = map_shared_block(shared_block_path(config->params().queue_directory));
  const auto anvil = smtp::AnvilTable::map();
  if (!anvil) return refuse(anvil.error().context);
  setup->anvil = *anvil;
  const auto queue_socket = net::listen_unix(queue::queue_socket_path(config->params().queue_directory), 0666, 511);
  if (!queue_socket) return refuse(queue_socket.error().context);
  setup->queue_listening = *queue_socket;
  const auto pickup_socket = net::listen_unix(submit::pickup_socket_path(config->params().queue_directory), 0666, 64);
  if (!pickup_socket) return refuse(pickup_socket.error().context);
  setup->pickup_listening = *pickup_socket;
  const auto control_socket = net::listen_unix(queue::control_socket_path(config->params().queue_directory), 0666, 64);
  if (!control_socket) return refuse(control_socket.error().context);
  setup->control_listening = *control_socket;
  if (const std::string& at = config->params().metrics_listen; !at.empty()) {
    const auto metrics = listen_metrics(at);
    if (!metrics) return refuse("metrics_listen: " + metrics.error().context);
    setup->metrics_listening = *metrics;
  }
  Master master(config_directory, std::move(*setup), listeners, log);
  return master.run(ready_fd);
}

}  // namespace

int start_main(const std::string& config_directory, bool foreground) {
  if (foreground) return serve(config_directory, true, -1);
  int ready[2];
  if (::pipe2(ready, O_CLOEXEC) != 0) return 1;
  const pid_t pid = ::fork();
  if (pid < 0) {
    say(fmt::format("fatal: fork: {}", std::strerror(errno)));
    return 1;
  }
  if (pid == 0) {
    ::close(ready[0]);
    ::setsid();
    const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    ::dup2(null, 0);
    ::_exit(serve(config_directory, false, ready[1]));
  }
  ::close(ready[1]);
  char byte = 0;
  if (::read(ready[0], &byte, 1) == 1) return 0;
  int status = 0;
  ::waitpid(pid, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) != 0 ? WEXITSTATUS(status) : 1;
}

int stop_main(const std::string& config_directory) {
  config::Findings findings;
  const auto config = config::Config::load(config_directory, findings);
  const pid_t pid = running_master(*config);
  if (pid <= 0) {
    say("fatal: the mail system is not running");
    return 1;
  }
  ::kill(pid, SIGTERM);
  for (int i = 0; i < 100; ++i) {
    if (running_master(*config) == 0) return 0;
    std::this_thread::sleep_for(milliseconds(100));
  }
  say(fmt::format("fatal: process {} does not stop", pid));
  return 1;
}

int reload_main(const std::string& config_directory) {
  if (const int bad = check_main(config_directory); bad != 0) {
    say("fatal: reload refused, the running configuration stays");
    return bad;
  }
  config::Findings findings;
  const auto config = config::Config::load(config_directory, findings);
  const pid_t pid = running_master(*config);
  if (pid <= 0) {
    say("fatal: the mail system is not running");
    return 1;
  }
  return ::kill(pid, SIGHUP) == 0 ? 0 : 1;
}

int status_main(const std::string& config_directory) {
  config::Findings findings;
  const auto config = config::Config::load(config_directory, findings);
  const pid_t pid = running_master(*config);
  say(pid > 0 ? fmt::format("the mail system is running: PID: {}", pid) : "the mail system is not running");
  if (pid <= 0) return 1;
  if (const SharedBlock* block = view_shared_block(shared_block_path(config->params().queue_directory))) {
    fmt::print("{}", filter::status_text(block->filters));
  }
  return 0;
}

int logrotate_main(const std::string& config_directory) {
  config::Findings findings;
  const auto config = config::Config::load(config_directory, findings);
  const std::string& path = config->params().maillog_file;
  const pid_t pid = running_master(*config);
  if (path.empty() || path == "/dev/stdout") {
    say("fatal: maillog_file does not name a file that can be rotated");
    return 1;
  }
  const std::time_t now = std::time(nullptr);
  char suffix[32];
  std::strftime(suffix, sizeof suffix, ".%Y%m%d-%H%M%S", std::localtime(&now));
  if (::rename(path.c_str(), (path + suffix).c_str()) != 0) {
    say(fmt::format("fatal: rename {}: {}", path, std::strerror(errno)));
    return 1;
  }
  return pid <= 0 || ::kill(pid, SIGUSR1) == 0 ? 0 : 1;
}

int check_main(const std::string& config_directory) {
  config::Findings findings;
  const auto config = load(config_directory, findings);
  if (findings.has_errors()) return 1;
  const std::size_t reported = findings.lines.size();
  auto setup = make_setup(config, findings);
  if (!setup) {
    say("fatal: " + setup.error().context);
    return 1;
  }
  for (std::size_t i = reported; i < findings.lines.size(); ++i) {
    const auto& line = findings.lines[i];
    say(fmt::format("{}: {}", line.is_error ? "fatal" : "warning", line.to_text()));
  }
  for (const std::string& text : check_files(*config, setup->owner)) say("warning: " + text);
  setup->dry_run = true;
  setup->log_options.threaded = false;
  setup->shared = map_shared_block();
  const auto anvil = smtp::AnvilTable::map();
  if (!anvil) return 1;
  setup->anvil = *anvil;
  int bad = findings.has_errors() ? 1 : 0;
  for (const Child::Kind kind : {Child::Kind::queue, Child::Kind::front}) {
    auto child = spawn_child(kind, 0, 0, [&](int channel, int commands) {
      return kind == Child::Kind::front ? front_main(*setup, 0, channel) : queue_main(*setup, channel, commands);
    });
    if (!child) {
      say("fatal: " + child.error().context);
      return 1;
    }
    std::string said;
    for (pollfd poller{child->channel, POLLIN, 0}; ::poll(&poller, 1, -1) >= 0;) {
      char buffer[4096];
      const ssize_t n = ::read(child->channel, buffer, sizeof buffer);
      if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) break;
      if (n > 0) said.append(buffer, static_cast<std::size_t>(n));
    }
    ::close(child->channel);
    if (child->commands >= 0) ::close(child->commands);
    int status = 0;
    ::waitpid(child->pid, &status, 0);
    for (const std::string_view line : split(said, "\n")) {
      if (line.starts_with("error ")) say(fmt::format("fatal: {}", line.substr(6)));
      if (line.starts_with("warning ")) say(fmt::format("warning: {}", line.substr(8)));
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) bad = 1;
  }
  return bad;
}

}  // namespace millrace::daemon
