// A tool's connection to the control socket of the running daemon.  Blocks; needs no loop.
#pragma once

#include <functional>
#include <string>

#include "core/queue/control_wire.h"
#include "core/queue/wire.h"

namespace millrace::queue {

class ControlClient {
 public:
  // Errors: refused when nobody listens there (the daemon is down), io.
  static Result<ControlClient> connect(const std::string& socket_path);
  ~ControlClient();
  ControlClient(ControlClient&& other) noexcept;
  ControlClient& operator=(ControlClient&&) = delete;

  // Sends, calls `item` for each item (false: malformed), returns what "done" said.  Errors: refused (not
  // permitted), not_found, io (anything else the daemon said), closed, protocol, timeout: a daemon that listens
  // but says nothing for so long (its store is ruined, say) is no reason to wait for ever.
  Result<Strings> request(const Strings& request, const std::function<bool(const Strings&)>& item);

 private:
  explicit ControlClient(int fd) : fd_(fd) {}
  int fd_;
  std::string input_;
};

}  // namespace millrace::queue
