#include "core/daemon/command_client.h"

#include <unistd.h>

namespace millrace::daemon {

void CommandClient::start() {
  socket_ = std::make_unique<net::MessageSocket>(fd_);
  if (!net::Loop::current().spawn(net::Stack::session, [this] { read(); })) closed_ = true;
}

void CommandClient::read() {
  std::string frame;
  std::vector<int> fds;
  while (socket_->receive(frame, fds, Deadline::never())) {
    for (const int fd : std::exchange(fds, {})) ::close(fd);
    const auto answer = local::decode_answer(std::exchange(frame, {}));
    if (!answer) break;
    const auto found = waiters_.find(answer->id);
    if (found == waiters_.end()) continue;
    found->second->answer = *answer;
    found->second->event.set();
  }
  closed_ = true;
  for (auto& [id, waiter] : waiters_) waiter->event.set();
}

Result<local::Answer> CommandClient::run(local::Request request, std::span<const int> fds) {
  if (closed_ || !socket_) return fail(Errc::closed, "no command channel");
  request.id = ++last_id_;
  std::string frame;
  if (!local::encode(request, frame)) return fail(Errc::too_large, "too much for one command");
  Waiter waiter;
  waiters_[request.id] = &waiter;
  auto sent = sending_.enter(Deadline::never());
  if (sent) {
    sent = socket_->send(frame, fds, Deadline::never());
    sending_.leave();
  }
  if (sent) sent = waiter.event.wait(Deadline::never());
  waiters_.erase(request.id);
  if (!sent) return tl::unexpected(sent.error());
  if (!waiter.answer) return fail(Errc::closed, "the master went away");
  return *waiter.answer;
}

}  // namespace millrace::daemon
