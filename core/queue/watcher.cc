#include "core/queue/watcher.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

#include "core/net/fiber.h"
#include "core/queue/frame_socket.h"

namespace millrace::queue {
namespace {

constexpr auto kAgain = std::chrono::milliseconds(500);

// Shared with its fiber, which may outlive the Watcher by a turn of the loop.
struct Core {
  std::string socket_path;
  Watcher::Each each;
  std::shared_ptr<FrameSocket> socket;
  bool gone = false;

  void run();
  int connected() const;
};

int Core::connected() const {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket_path.size() >= sizeof address.sun_path) return -1;
  std::memcpy(address.sun_path, socket_path.data(), socket_path.size());
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0 || ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return fd;
  ::close(fd);
  return -1;
}

void Core::run() {
  while (!gone) {
    if (const int fd = connected(); fd >= 0) {
      socket = std::make_shared<FrameSocket>(fd);
      if (socket->start()) {
        wire::put_strings(wire::Type::observe, {}, socket->output());
        socket->output_added();
        (void)socket->read([this](const wire::Frame& frame, const std::function<int()>&) {
          std::vector<std::string> delivery;
          if (frame.type != wire::Type::delivered || !wire::parse_strings(frame.payload, delivery)) return false;
          if (!gone) each(delivery);
          return !gone;
        });
      }
      socket.reset();
    }
    if (!net::sleep_until(Deadline::after(kAgain))) return;
  }
}

class Connected final : public Watcher {
 public:
  explicit Connected(std::shared_ptr<Core> core) : core_(std::move(core)) {}
  ~Connected() override {
    core_->gone = true;
    core_->each = nullptr;
    if (core_->socket) core_->socket->shut_down();
  }

 private:
  std::shared_ptr<Core> core_;
};

}  // namespace

std::unique_ptr<Watcher> Watcher::start(const std::string& socket_path, Each each) {
  auto core = std::make_shared<Core>();
  core->socket_path = socket_path;
  core->each = std::move(each);
  if (!net::Loop::current().spawn(net::Stack::session, [core] { core->run(); })) return nullptr;
  return std::make_unique<Connected>(std::move(core));
}

}  // namespace millrace::queue
