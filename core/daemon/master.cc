#include "core/daemon/master.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "core/daemon/front.h"
#include "core/daemon/metrics.h"
#include "core/daemon/notify.h"
#include "core/daemon/queue_role.h"
#include "core/smtp/anvil.h"

namespace millrace::daemon {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr seconds kPrepareLimit{60};       // a generation that is not ready by then is given up
constexpr milliseconds kStopFronts{1500};  // sessions get this long to end; then the queue is closed
constexpr milliseconds kStopQueue{2000};
constexpr seconds kRestartDelay{1};        // for a child that died at once

const char* kind_name(Child::Kind kind) { return kind == Child::Kind::front ? "front" : "queue"; }

// Children may not be able to open the file themselves: they get the descriptor.
void send_log(const Child& child, int file) {
  std::string word = "log\n";
  iovec part{word.data(), word.size()};
  union {
    cmsghdr align;
    char bytes[CMSG_SPACE(sizeof(int))];
  } control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.bytes;
  message.msg_controllen = sizeof control.bytes;
  cmsghdr* const head = CMSG_FIRSTHDR(&message);
  head->cmsg_level = SOL_SOCKET;
  head->cmsg_type = SCM_RIGHTS;
  head->cmsg_len = CMSG_LEN(sizeof file);
  std::memcpy(CMSG_DATA(head), &file, sizeof file);
  (void)!::sendmsg(child.channel, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

// In the background nothing of us may keep the caller's terminal or pipe open.
void leave_terminal() {
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  if (null < 0) return;
  for (const int fd : {0, 1, 2}) ::dup2(null, fd);
  if (null > 2) ::close(null);
}

int block_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : {SIGTERM, SIGINT, SIGHUP, SIGCHLD, SIGUSR1}) sigaddset(&set, number);
  ::sigprocmask(SIG_BLOCK, &set, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  return ::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

}  // namespace

Master::Master(std::string config_directory, Setup first, Listeners& listeners, log::Logger log)
    : config_directory_(std::move(config_directory)),
      current_(std::move(first)),
      listeners_(listeners),
      commands_(log),
      log_(std::move(log)) {}

Result<void> Master::spawn(Child::Kind kind, int slot, const Setup& setup) {
  log::flush();
  auto child = spawn_child(kind, slot, setup.generation, [&](int channel, int commands) {
    for (Child& other : children_) {
      ::close(other.channel);
      if (other.commands >= 0) ::close(other.commands);
    }
    if (background_) leave_terminal();
    return kind == Child::Kind::front ? front_main(setup, slot, channel) : queue_main(setup, channel, commands);
  });
  if (!child) return tl::unexpected(child.error());
  child->config = setup.config;
  child->owner = setup.owner.uid;
  children_.push_back(std::move(*child));
  return {};
}

Result<void> Master::spawn_generation(const Setup& setup) {
  if (auto made = spawn(Child::Kind::queue, 0, setup); !made) return made;
  for (int slot = 0; slot < setup.fronts; ++slot) {
    if (auto made = spawn(Child::Kind::front, slot, setup); !made) return made;
  }
  return {};
}

bool Master::tell(Child& child, std::string_view word) {
  const std::string line = std::string(word) + "\n";
  return ::write(child.channel, line.data(), line.size()) == static_cast<ssize_t>(line.size());
}

bool Master::any(Child::Kind kind, unsigned generation) const {
  return std::any_of(children_.begin(), children_.end(),
                     [&](const Child& c) { return c.kind == kind && c.generation == generation; });
}

bool Master::all_ready(unsigned generation) const {
  return std::none_of(children_.begin(), children_.end(), [&](const Child& c) {
    return c.generation == generation && c.state == Child::State::preparing;
  });
}

// A new generation begins when all of it is ready.  Its fronts go at once; its queue process waits for
// the old one to close the store.
void Master::advance() {
  if (stopping_ != Stopping::no) return;
  if (next_ && all_ready(next_->generation)) {
    for (Child& child : children_) {
      if (child.generation < next_->generation && child.state == Child::State::running) {
        tell(child, "drain");
        child.state = Child::State::draining;
      }
    }
    listeners_.close_others(next_->plan, next_->spawn_plan);
    // The old queue process has a descriptor of its own.
    if (current_.metrics_listening >= 0 && current_.metrics_listening != next_->metrics_listening) ::close(current_.metrics_listening);
    current_ = std::move(*next_);
    next_.reset();
    tell_service_manager("READY=1");
    log_.info(fmt::format("reload -- version {}, configuration {}", current_.config->params().mail_version,
                          config_directory_));
  }
  for (Child& child : children_) {
    if (child.state != Child::State::ready || child.generation != current_.generation) continue;
    const bool old_queue_lives =
        std::any_of(children_.begin(), children_.end(), [&](const Child& c) {
          return c.kind == Child::Kind::queue && c.pid != child.pid && c.generation < child.generation;
        });
    if (child.kind == Child::Kind::queue && old_queue_lives) continue;
    if (!serving_ && !all_ready(current_.generation)) continue;
    // At start nobody is let in before the queue is open: one that cannot be opened ends the start.
    if (!serving_ && !queue_open_ && child.kind == Child::Kind::front) continue;
    tell(child, "go");
    child.state = Child::State::running;
  }
  if (!serving_ && queue_open_ && !failed_) {
    serving_ = true;
    log_.info(fmt::format("daemon started -- version {}, configuration {}", current_.config->params().mail_version,
                          config_directory_));
    tell_service_manager(fmt::format("READY=1\nMAINPID={}", ::getpid()));
    if (ready_fd_ >= 0) {
      leave_terminal();
      (void)!::write(ready_fd_, "1", 1);
      ::close(ready_fd_);
      ready_fd_ = -1;
    }
  }
}

void Master::take_line(Child& child, std::string_view line) {
  if (line == "ready") {
    child.state = Child::State::ready;
  } else if (line == "open") {
    queue_open_ = true;
  } else if (line.starts_with("error ")) {
    const std::string text(line.substr(6));
    if (!reported_.insert(text).second) return;   // every front finds the same
    if (next_ && child.generation == next_->generation) {
      log_.error(fmt::format("reload: {}", text));
    } else {
      log_.fatal(text);
      if (!serving_) fmt::print(stderr, "millrace: fatal: {}\n", text);
    }
  } else if (line.starts_with("warning ") && reported_.insert(std::string(line)).second) {
    log_.warning(line.substr(8));
  }
}

void Master::read_channel(Child& child) {
  char buffer[4096];
  for (;;) {
    const ssize_t n = ::read(child.channel, buffer, sizeof buffer);
    if (n <= 0) return;
    child.input.append(buffer, static_cast<std::size_t>(n));
    std::size_t end;
    while ((end = child.input.find('\n')) != std::string::npos) {
      take_line(child, std::string_view(child.input).substr(0, end));
      child.input.erase(0, end + 1);
    }
    if (child.input.size() > sizeof buffer) child.input.clear();
  }
}

void Master::reap() {
  int status = 0;
  for (pid_t pid; (pid = ::waitpid(-1, &status, WNOHANG)) > 0;) {
    const auto it = std::find_if(children_.begin(), children_.end(), [&](const Child& c) { return c.pid == pid; });
    if (it == children_.end()) {
      commands_.reaped(pid, status, [this](pid_t who) -> Child* {
        const auto asked = std::find_if(children_.begin(), children_.end(), [who](const Child& c) { return c.pid == who; });
        return asked == children_.end() ? nullptr : &*asked;
      });
      continue;
    }
    read_channel(*it);
    const Child child = *it;
    ::close(it->channel);
    if (it->commands >= 0) ::close(it->commands);
    commands_.forget(pid);
    children_.erase(it);
    ended(child, status);
  }
}

void Master::ended(const Child& child, int status) {
  if (child.kind == Child::Kind::front) {
    current_.shared->fronts[child.generation % 2][child.slot].sessions = 0;
    current_.shared->filters.forget_process(anvil_process(child.generation, child.slot));
    current_.anvil->clear_process(anvil_process(child.generation, child.slot));
  }
  if (stopping_ != Stopping::no || child.state == Child::State::draining) return;
  const std::string how = WIFSIGNALED(status) ? fmt::format("killed by signal {}", WTERMSIG(status))
                                              : fmt::format("exit status {}", WEXITSTATUS(status));
  if (next_ && child.generation == next_->generation) {
    refuse_reload(fmt::format("process {} ({} of the new configuration): {}", child.pid, kind_name(child.kind), how));
    return;
  }
  if (!serving_) {
    failed_ = true;
    exit_status_ = 1;
    begin_stop();
    return;
  }
  if (child.generation != current_.generation) return;
  log_.warning(fmt::format("process {} ({}): {}", child.pid, kind_name(child.kind), how));
  const bool at_once = SteadyClock::now() - child.started < kRestartDelay;
  restarts_.push_back({child.kind, child.slot, SteadyClock::now() + (at_once ? kRestartDelay : seconds(0))});
}

void Master::refuse_reload(const std::string& why) {
  if (!next_) return;
  tell_service_manager("READY=1");
  log_.error(fmt::format("reload refused, the running configuration stays: {}", why));
  const unsigned generation = next_->generation;
  for (Child& child : children_) {
    if (child.generation != generation) continue;
    child.state = Child::State::draining;
    ::kill(child.pid, SIGKILL);
  }
  listeners_.close_others(current_.plan, current_.spawn_plan);
  if (next_->metrics_listening >= 0 && next_->metrics_listening != current_.metrics_listening) ::close(next_->metrics_listening);
  next_.reset();
}

void Master::begin_reload() {
  if (next_ || stopping_ != Stopping::no) return;
  tell_reloading();
  config::Findings findings;
  auto setup = std::make_unique<Setup>(current_);
  setup->config = config::Config::load(config_directory_, findings);
  setup->plan = plan_listeners(*setup->config, findings);
  setup->spawn_plan = plan_listeners(*setup->config, findings, "spawn");
  local::check_commands(*setup->config, {setup->owner.uid, ::geteuid() == 0}, findings);
  for (const auto& line : findings.lines) {
    const std::string text = line.to_text();
    line.is_error ? log_.error(text) : log_.warning(text);
  }
  const auto refuse = [&](const std::string& why) {
    tell_service_manager("READY=1");
    log_.error(fmt::format("reload refused, the running configuration stays: {}", why));
    listeners_.close_others(current_.plan, current_.spawn_plan);
  };
  if (findings.has_errors()) return refuse("see the errors above");
  if (setup->config->params().queue_directory != current_.config->params().queue_directory) {
    return refuse("queue_directory cannot change without a restart");
  }
  const auto owner = find_owner(*setup->config);
  if (!owner) return refuse(owner.error().context);
  if (auto made = make_directories(*setup->config, *owner); !made) return refuse(made.error().context);
  if (auto opened = listeners_.open(setup->plan); !opened) return refuse(opened.error().context);
  if (auto opened = listeners_.open(setup->spawn_plan); !opened) return refuse(opened.error().context);
  if (const std::string& at = setup->config->params().metrics_listen; at != current_.config->params().metrics_listen) {
    setup->metrics_listening = -1;
    if (!at.empty()) {
      const auto metrics = listen_metrics(at);
      if (!metrics) return refuse("metrics_listen: " + metrics.error().context);
      setup->metrics_listening = *metrics;
    }
  }
  setup->owner = *owner;
  setup->spawn_listening.clear();
  for (const ListenPlan& place : setup->spawn_plan) setup->spawn_listening.push_back(listeners_.fd(place.at));
  setup->listening.clear();
  for (const ListenPlan& place : setup->plan) setup->listening.push_back(listeners_.fd(place.at));
  ++setup->generation;
  reported_.clear();
  next_ = std::move(setup);
  reload_until_ = SteadyClock::now() + kPrepareLimit;
  if (auto spawned = spawn_generation(*next_); !spawned) refuse_reload(spawned.error().context);
}

void Master::begin_stop() {
  if (stopping_ != Stopping::no) return;
  tell_service_manager("STOPPING=1");
  if (serving_) log_.info("terminating on signal 15");
  stopping_ = Stopping::fronts;
  stop_step_at_ = SteadyClock::now() + kStopFronts;
  restarts_.clear();
  for (Child& child : children_) {
    if (child.kind == Child::Kind::front || !serving_) tell(child, "stop");
  }
}

// Fronts first, then the queue that took their messages, then whoever is left is killed.
void Master::step_stop() {
  const bool fronts_left =
      std::any_of(children_.begin(), children_.end(), [](const Child& c) { return c.kind == Child::Kind::front; });
  const bool late = SteadyClock::now() >= stop_step_at_;
  if (stopping_ == Stopping::fronts && (!fronts_left || late)) {
    stopping_ = Stopping::queue;
    stop_step_at_ = SteadyClock::now() + kStopQueue;
    for (Child& child : children_) {
      child.kind == Child::Kind::queue ? (void)tell(child, "stop") : (void)::kill(child.pid, SIGKILL);
    }
  } else if (stopping_ == Stopping::queue && late) {
    stopping_ = Stopping::kill;
    for (Child& child : children_) ::kill(child.pid, SIGKILL);
    commands_.kill_all();
    stop_step_at_ = SteadyClock::now() + seconds(1);
  }
}

void Master::reopen_log() {
  auto options = open_log(*current_.config, true);
  if (!options || options->facility != log::Facility::file) return;
  for (const Child& child : children_) send_log(child, options->fd);
  if (::dup3(options->fd, current_.log_options.fd, O_CLOEXEC) >= 0) ::close(options->fd);
}

int Master::poll_timeout_ms() const {
  TimePoint next = SteadyClock::now() + seconds(3600);
  for (const Restart& restart : restarts_) next = std::min(next, restart.at);
  if (next_) next = std::min(next, reload_until_);
  next = std::min(next, commands_.next_limit());
  if (stopping_ != Stopping::no) next = std::min(next, stop_step_at_);
  const auto left = std::chrono::ceil<milliseconds>(next - SteadyClock::now()).count();
  return static_cast<int>(std::clamp<long>(left, 0, 3600000));
}

int Master::run(int ready_fd) {
  ready_fd_ = ready_fd;
  background_ = ready_fd >= 0;
  const int signals = block_signals();
  if (auto spawned = spawn_generation(current_); !spawned) {
    log_.fatal(spawned.error().context);
    exit_status_ = 1;
    begin_stop();
  }
  while (stopping_ == Stopping::no || !children_.empty()) {
    std::vector<pollfd> polled{{signals, POLLIN, 0}};
    std::vector<pid_t> owners{0};
    for (const Child& child : children_) {
      polled.push_back({child.channel, POLLIN, 0});
      owners.push_back(child.pid);
      if (child.commands < 0) continue;
      polled.push_back({child.commands, static_cast<short>(child.answers.empty() ? POLLIN : POLLIN | POLLOUT), 0});
      owners.push_back(child.pid);
    }
    const std::size_t first_spawn = polled.size();
    std::vector<std::size_t> places;
    for (std::size_t i = 0; serving_ && stopping_ == Stopping::no && i < current_.spawn_plan.size(); ++i) {
      if (!commands_.has_room(current_, i)) continue;
      polled.push_back({current_.spawn_listening[i], POLLIN, 0});
      places.push_back(i);
    }
    ::poll(polled.data(), polled.size(), poll_timeout_ms());
    for (std::size_t i = 1; i < polled.size(); ++i) {
      if (polled[i].revents == 0) continue;
      if (i >= first_spawn) {
        commands_.accept_client(current_, places[i - first_spawn]);
        continue;
      }
      for (Child& child : children_) {
        if (child.pid != owners[i]) continue;
        if (polled[i].fd == child.channel) {
          read_channel(child);
        } else {
          Commands::send_answers(child);
          commands_.take_requests(child);
        }
      }
    }
    commands_.keep_limits();
    for (signalfd_siginfo info; ::read(signals, &info, sizeof info) == sizeof info;) {
      if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT) begin_stop();
      if (info.ssi_signo == SIGHUP) begin_reload();
      if (info.ssi_signo == SIGUSR1) reopen_log();
    }
    reap();
    if (next_ && SteadyClock::now() >= reload_until_) refuse_reload("not ready within 60 s");
    for (auto it = restarts_.begin(); it != restarts_.end();) {
      if (it->at > SteadyClock::now()) {
        ++it;
        continue;
      }
      Setup setup = current_;
      setup.queue_died = it->kind == Child::Kind::queue;
      if (auto spawned = spawn(it->kind, it->slot, setup); !spawned) {
        log_.error(spawned.error().context);
        it->at = SteadyClock::now() + kRestartDelay;
        ++it;
      } else {
        it = restarts_.erase(it);
      }
    }
    advance();
    if (stopping_ != Stopping::no) step_stop();
  }
  commands_.kill_all();
  return exit_status_;
}

}  // namespace millrace::daemon
