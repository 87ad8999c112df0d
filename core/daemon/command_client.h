// The queue process's end of its command socket to the master.
#pragma once

#include <map>
#include <memory>

#include "core/local/runner.h"
#include "core/net/fiber.h"
#include "core/net/stream.h"

namespace millrace::daemon {

class CommandClient final : public local::Runner {
 public:
  // `fd`: a SOCK_SEQPACKET socket; owned from start() on.
  explicit CommandClient(int fd) : fd_(fd) {}
  void start();   // on the loop
  Result<local::Answer> run(local::Request request, std::span<const int> fds) override;

 private:
  struct Waiter {
    net::Event event;
    std::optional<local::Answer> answer;
  };
  void read();

  int fd_;
  std::unique_ptr<net::MessageSocket> socket_;
  net::Gate sending_{1};
  std::map<std::uint32_t, Waiter*> waiters_;
  std::uint32_t last_id_ = 0;
  bool closed_ = false;
};

}  // namespace millrace::daemon
