#include "core/daemon/commands.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

namespace millrace::daemon {
namespace {

using std::chrono::seconds;

constexpr std::size_t kMaxAnswers = 10000;   // kept for a child that does not read
constexpr int kMaxDescriptors = 4;
constexpr seconds kDeliveryLimit{18000};     // daemon_timeout: tasks whose commands keep limits of their own

// One packet with its descriptors; false when there is none.
bool receive(int socket, std::string& frame, std::vector<int>& fds, bool& damaged) {
  frame.resize(local::kMaxFrame);
  iovec part{frame.data(), frame.size()};
  union {
    cmsghdr align;
    char bytes[CMSG_SPACE(kMaxDescriptors * sizeof(int))];
  } control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.bytes;
  message.msg_controllen = sizeof control.bytes;
  const ssize_t n = ::recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (n <= 0) return false;
  frame.resize(static_cast<std::size_t>(n));
  for (cmsghdr* head = CMSG_FIRSTHDR(&message); head != nullptr; head = CMSG_NXTHDR(&message, head)) {
    if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS) continue;
    for (std::size_t at = 0; at + sizeof(int) <= head->cmsg_len - CMSG_LEN(0); at += sizeof(int)) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(head) + at, sizeof fd);
      fds.push_back(fd);
    }
  }
  damaged = (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0;
  return true;
}

std::size_t process_limit(const config::Config& config, const config::Service& service) {
  const std::int64_t limit = service.process_limit < 0 ? config.params().default_process_limit : service.process_limit;
  return limit == 0 ? SIZE_MAX : static_cast<std::size_t>(limit);
}

// Own process groups: the child made a session, unless it has not got so far.
void kill_group(pid_t pid) {
  ::kill(-pid, SIGKILL);
  ::kill(pid, SIGKILL);
}

}  // namespace

local::Rulers Commands::rulers(uid_t mail_owner) { return {mail_owner, ::geteuid() == 0}; }

void Commands::answer(Child& child, local::Answer answer) {
  if (child.answers.size() >= kMaxAnswers) return;
  std::string frame;
  local::encode(answer, frame);
  child.answers.push_back(std::move(frame));
  send_answers(child);
}

void Commands::send_answers(Child& child) {
  while (!child.answers.empty()) {
    const std::string& frame = child.answers.front();
    const ssize_t n = ::send(child.commands, frame.data(), frame.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    child.answers.pop_front();   // sent, or the child is gone
  }
}

void Commands::take_requests(Child& child) {
  for (;;) {
    std::string frame;
    std::vector<int> fds;
    bool damaged = false;
    if (!receive(child.commands, frame, fds, damaged)) return;
    const auto request = damaged ? std::nullopt : local::decode_request(frame);
    if (request) {
      start(child, *request, fds);
    } else {
      log_.error(fmt::format("process {}: malformed command request", child.pid));
    }
    for (const int fd : fds) ::close(fd);
  }
}

void Commands::start(Child& child, const local::Request& request, const std::vector<int>& fds) {
  const auto refuse = [&](std::string why) {
    answer(child, {request.id, local::Answer::Ending::refused, 0, std::move(why)});
  };
  const config::Config& config = *child.config;
  const config::Service* service = config.transport(request.service);
  if (service == nullptr) return refuse("no such service");
  if (std::string why = local::refuse_task(*service, request, fds.size()); !why.empty()) return refuse(std::move(why));
  if (running(child.pid, service->name) >= process_limit(config, *service)) return refuse("process limit reached");
  log::flush();
  const pid_t pid = ::fork();
  if (pid < 0) return refuse(std::string("fork: ") + std::strerror(errno));
  if (pid == 0) local::run_task(config, *service, request, fds, rulers(child.owner));
  const seconds limit = request.kind == local::TaskKind::pipe ? config.transport_time(service->name, "time_limit") : kDeliveryLimit;
  running_.push_back({pid, child.pid, request.id, service->name, SteadyClock::now() + limit});
}

std::size_t Commands::running(pid_t asked_by, const std::string& service) const {
  std::size_t out = 0;
  for (const Running& one : running_) out += one.asked_by == asked_by && one.service == service;
  return out;
}

bool Commands::has_room(const Setup& setup, std::size_t place) const {
  const config::Service& service = setup.config->services()[setup.spawn_plan[place].service];
  return running(0, service.name) < process_limit(*setup.config, service);
}

void Commands::accept_client(const Setup& setup, std::size_t place) {
  const config::Service& service = setup.config->services()[setup.spawn_plan[place].service];
  const int client = ::accept4(setup.spawn_listening[place], nullptr, nullptr, SOCK_CLOEXEC);
  if (client < 0) return;
  log::flush();
  const pid_t pid = ::fork();
  if (pid == 0) local::run_spawn(*setup.config, service, client, rulers(setup.owner.uid));
  if (pid < 0) log_.error(fmt::format("service {}: fork: {}", service.name, std::strerror(errno)));
  ::close(client);
  if (pid < 0) return;
  running_.push_back({pid, 0, 0, service.name, SteadyClock::now() + setup.config->transport_time(service.name, "time_limit")});
}

bool Commands::reaped(pid_t pid, int status, const std::function<Child*(pid_t)>& find) {
  for (auto it = running_.begin(); it != running_.end(); ++it) {
    if (it->pid != pid) continue;
    // What it left behind in its session goes with it when it was ended by force.
    if (it->timed_out) ::kill(-pid, SIGKILL);
    if (it->asked_by == 0) {
      if (WIFSIGNALED(status)) {
        log_.warning(fmt::format("service {}: command {}: killed by signal {}", it->service, pid, WTERMSIG(status)));
      } else if (WEXITSTATUS(status) != 0) {
        log_.warning(fmt::format("service {}: command {}: exit status {}", it->service, pid, WEXITSTATUS(status)));
      }
    } else if (Child* const child = find(it->asked_by); child != nullptr) {
      const auto ending = it->timed_out ? local::Answer::Ending::timed_out : local::Answer::Ending::ended;
      answer(*child, {it->id, ending, static_cast<std::uint32_t>(status), {}});
    }
    running_.erase(it);
    return true;
  }
  return false;
}

void Commands::forget(pid_t child) {
  for (const Running& one : running_) {
    if (one.asked_by == child) kill_group(one.pid);
  }
}

void Commands::keep_limits() {
  const TimePoint now = SteadyClock::now();
  for (Running& one : running_) {
    if (now < one.limit) continue;
    if (!std::exchange(one.timed_out, true)) log_.warning(fmt::format("service {}: command {}: time limit exceeded", one.service, one.pid));
    kill_group(one.pid);
    one.limit = now + seconds(1);
  }
}

TimePoint Commands::next_limit() const {
  TimePoint out = TimePoint::max();
  for (const Running& one : running_) out = std::min(out, one.limit);
  return out;
}

void Commands::kill_all() {
  for (const Running& one : running_) kill_group(one.pid);
}

}  // namespace millrace::daemon
