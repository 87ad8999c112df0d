#include "core/queue/server.h"

#include <unistd.h>

#include <set>

#include "core/net/fiber.h"
#include "core/net/stream.h"
#include "core/queue/codec.h"
#include "core/queue/frame_socket.h"
#include "core/queue/peer.h"

namespace millrace::queue {
namespace {

constexpr std::uint64_t kMaxReserve = 1 << 20;
constexpr std::uint64_t kMaxVerifyWait = 3600;   // seconds

// Shared with the fibers of the connections and with operations of the store.
struct Core : std::enable_shared_from_this<Core> {
  Core(Store& the_store, const ServerOptions& the_options, Server::OnStored callback)
      : store(the_store), options(the_options), on_stored(std::move(callback)) {}

  void accepted(int fd);
  bool take(const std::shared_ptr<FrameSocket>& socket, const wire::Frame& frame,
            const std::function<int()>& take_fd);
  void store_small(const std::shared_ptr<FrameSocket>& socket, std::uint64_t request, const std::shared_ptr<Entry>& entry,
                   std::shared_ptr<const std::string> content);
  bool submit(const std::shared_ptr<FrameSocket>& socket, std::string_view payload,
              const std::function<int()>& take_fd);
  bool verify(const std::shared_ptr<FrameSocket>& socket, std::string_view payload);
  void answer(FrameSocket& socket, std::uint64_t request, const Result<void>& result);
  void tell(const std::vector<std::string>& delivery);
  void stored(Entry entry, std::shared_ptr<const std::string> content) {
    if (on_stored) on_stored(std::move(entry), std::move(content));
  }

  Store& store;
  ServerOptions options;
  Server::OnStored on_stored;    // empty once the server is gone
  std::set<std::shared_ptr<FrameSocket>> connections;
  std::vector<std::weak_ptr<FrameSocket>> observers;
};

void Core::tell(const std::vector<std::string>& delivery) {
  constexpr std::size_t kBacklog = 1 << 20;   // one that does not read is passed over
  std::erase_if(observers, [](const auto& one) { return one.expired() || one.lock()->is_down(); });
  for (const auto& one : observers) {
    const std::shared_ptr<FrameSocket> socket = one.lock();
    if (socket->output().size() > kBacklog) continue;
    wire::put_strings(wire::Type::delivered, delivery, socket->output());
    return socket->output_added();
  }
}

void Core::accepted(int fd) {
  const std::optional<uid_t> peer = peer_user(fd);
  if (!peer || (*peer != 0 && *peer != ::geteuid())) {
    options.log.warning("queue socket: connection of a foreign user refused");
    ::close(fd);
    return;
  }
  auto socket = std::make_shared<FrameSocket>(fd);
  const auto reader = [self = shared_from_this(), socket] {
    const Error why = socket->read([&](const wire::Frame& frame, const std::function<int()>& take_fd) {
      return self->take(socket, frame, take_fd);
    });
    if (why.code == Errc::protocol) self->options.log.warning("queue socket: " + why.context);
    self->connections.erase(socket);
  };
  if (!socket->start() || !net::Loop::current().spawn(net::Stack::session, reader)) {
    options.log.warning("queue socket: no memory for another connection");
    socket->shut_down();
    return;
  }
  connections.insert(socket);
}

bool Core::take(const std::shared_ptr<FrameSocket>& socket, const wire::Frame& frame,
                const std::function<int()>& take_fd) {
  if (frame.type == wire::Type::submit) return submit(socket, frame.payload, take_fd);
  if (frame.type == wire::Type::verify) return verify(socket, frame.payload);
  if (frame.type == wire::Type::observe) return observers.push_back(socket), true;
  wire::Reserve reserve;
  if (frame.type != wire::Type::reserve || !wire::parse(frame.payload, reserve)) return false;
  if (reserve.count == 0 || reserve.count > kMaxReserve) return false;
  const Result<std::uint64_t> first = store.reserve_ids(reserve.count);
  wire::put_reserved(reserve.request, first, socket->output());
  socket->output_added();
  return true;
}

bool Core::verify(const std::shared_ptr<FrameSocket>& socket, std::string_view payload) {
  wire::Verify asked;
  if (!wire::parse(payload, asked)) return false;
  const auto ask = [self = shared_from_this(), socket, request = asked.request, address = std::string(asked.address),
                    wait = std::chrono::seconds(std::min<std::uint64_t>(asked.wait_s, kMaxVerifyWait))] {
    Result<smtp::Verified> known = fail(Errc::internal, "address verification is not available");
    if (self->options.verify && self->on_stored) known = self->options.verify(address, wait);
    wire::put_verified(request, known, socket->output());
    socket->output_added();
  };
  if (Result<void> spawned = net::Loop::current().spawn(net::Stack::session, ask); !spawned) {
    wire::put_verified(asked.request, tl::unexpected(spawned.error()), socket->output());
    socket->output_added();
  }
  return true;
}

void Core::answer(FrameSocket& socket, std::uint64_t request, const Result<void>& result) {
  if (!result) options.log.warning("message not stored: " + result.error().context);
  wire::put_submitted(request, result, socket.output());
  socket.output_added();
}

void Core::store_small(const std::shared_ptr<FrameSocket>& socket, std::uint64_t request,
                       const std::shared_ptr<Entry>& entry, std::shared_ptr<const std::string> content) {
  entry->envelope.size = content->size();
  store.add_async(*entry, content, [self = shared_from_this(), socket, request, entry, content](const Result<void>& done) {
    self->answer(*socket, request, done);
    if (done) self->stored(std::move(*entry), content);
  });
}

bool Core::submit(const std::shared_ptr<FrameSocket>& socket, std::string_view payload,
                  const std::function<int()>& take_fd) {
  wire::Submit submit;
  const auto entry = std::make_shared<Entry>();
  const int fd = wire::parse(payload, submit) && submit.has_descriptor ? take_fd() : -1;
  const bool good = decode_envelope(submit.envelope, entry->envelope, entry->recipients) &&
                    is_queue_id(entry->envelope.queue_id) && !entry->recipients.empty() &&
                    submit.has_descriptor == (fd >= 0);
  if (!good) {
    if (fd >= 0) ::close(fd);
    return false;
  }
  entry->queue = entry->envelope.hold ? QueueName::hold : QueueName::incoming;
  entry->queued = wall_now();
  const std::uint64_t request = submit.request;
  const auto delay = options.flow_delay ? options.flow_delay() : std::chrono::milliseconds(0);
  auto content = std::make_shared<const std::string>(submit.content);
  if (fd < 0 && delay.count() == 0) {
    store_small(socket, request, entry, std::move(content));
    return true;
  }
  // Large: its own fiber, so that its sync does not hold up what comes behind it.  The same for one that waits.
  const auto large = [self = shared_from_this(), socket, request, entry, fd, delay, prefix = std::move(content)] {
    if (delay.count() > 0) (void)net::sleep_until(Deadline::after(delay));
    if (fd < 0) return self->store_small(socket, request, entry, prefix);
    entry->envelope.size = prefix->size() + static_cast<std::uint64_t>(std::max<off_t>(::lseek(fd, 0, SEEK_END), 0));
    const Result<void> done = self->store.add(*entry, *prefix, fd);
    self->answer(*socket, request, done);
    if (done) self->stored(std::move(*entry), nullptr);
  };
  if (Result<void> spawned = net::Loop::current().spawn(net::Stack::session, large); !spawned) {
    if (fd >= 0) ::close(fd);
    answer(*socket, request, spawned);
  }
  return true;
}

class ServerImpl final : public Server {
 public:
  ServerImpl(Store& store, const ServerOptions& options, OnStored on_stored)
      : core_(std::make_shared<Core>(store, options, std::move(on_stored))),
        acceptor_(options.listening_fd, [core = core_](int fd) { core->accepted(fd); }) {}
  void tell(const std::vector<std::string>& delivery) override { core_->tell(delivery); }
  ~ServerImpl() override {
    core_->on_stored = nullptr;
    for (const auto& socket : core_->connections) socket->shut_down();
  }

 private:
  std::shared_ptr<Core> core_;
  net::Acceptor acceptor_;
};

}  // namespace

std::unique_ptr<Server> Server::start(Store& store, const ServerOptions& options, OnStored on_stored) {
  return std::make_unique<ServerImpl>(store, options, std::move(on_stored));
}

}  // namespace millrace::queue
