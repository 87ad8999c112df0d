#include "core/queue/client.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <deque>
#include <unordered_map>

#include "core/net/fiber.h"
#include "core/queue/codec.h"
#include "core/queue/frame_socket.h"
#include "core/queue/store.h"

namespace millrace::queue {
namespace {

constexpr std::uint64_t kIdsAtOnce = 1024;
constexpr std::uint64_t kIdsLow = 256;              // fetch more when fewer are left
constexpr std::size_t kInlineBytes = 16 * 1024;     // content that travels inside the frame
constexpr std::chrono::seconds kAnswerTime{300};
constexpr std::chrono::seconds kConnectTime{5};
constexpr std::chrono::seconds kSpaceFresh{1};

// Shared with the fibers that serve it, which may outlive the client.
class Core : public std::enable_shared_from_this<Core> {
 public:
  Core(const ClientOptions& options, const log::Logger& log) : options_(options), log_(log) {}

  Result<std::string> new_queue_id();
  Result<void> submit(const mime::Envelope& envelope, mime::Message& message);
  Result<smtp::Verified> verify(const std::string& address, std::chrono::seconds wait);
  bool has_space(std::uint64_t bytes);
  void close() {
    if (socket_) socket_->shut_down();
  }
  int spool_directory() const { return options_.spool_directory; }

 private:
  struct Pending {
    net::Event event;
    wire::Answer answer;
  };
  Result<void> connect();
  Result<void> send(const std::string& envelope, const std::string& content, int fd);
  Result<int> connected_socket();
  void connection_lost(const std::shared_ptr<FrameSocket>& socket, const Error& why);
  bool take_answer(const wire::Frame& frame);
  void ask_for_ids();
  Result<void> wait_for_ids();
  Result<int> spool(const std::string& headers, const mime::Body& body) const;

  ClientOptions options_;
  log::Logger log_;
  std::shared_ptr<FrameSocket> socket_;   // nullptr: not connected
  std::uint64_t last_request_ = 0;
  std::unordered_map<std::uint64_t, std::shared_ptr<Pending>> pending_;
  struct Block {
    std::uint64_t next, end;
  };
  std::deque<Block> ids_;
  bool asking_for_ids_ = false;
  std::vector<std::shared_ptr<net::Event>> id_waiters_;
  Result<void> id_result_;
  std::uint64_t free_bytes_ = 0;
  TimePoint free_bytes_at_{};
};

Result<int> Core::connected_socket() {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (options_.socket_path.size() >= sizeof address.sun_path) {
    return fail(Errc::config, options_.socket_path + ": path is too long for a socket");
  }
  std::memcpy(address.sun_path, options_.socket_path.data(), options_.socket_path.size());
  const Deadline deadline = Deadline::after(kConnectTime);
  while (true) {
    const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return fail(Errc::limit, std::string("socket: ") + std::strerror(errno));
    if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return fd;
    const int error = errno;
    ::close(fd);
    // EAGAIN: its backlog is full.  The others: it is being started again.
    const bool wait = error == EAGAIN || error == ECONNREFUSED || error == ENOENT;
    if (!wait || deadline.passed()) {
      return fail(Errc::closed, "connect to the queue at " + options_.socket_path + ": " + std::strerror(error));
    }
    if (Result<void> slept = net::sleep_until(Deadline::after(std::chrono::milliseconds(20))); !slept) {
      return tl::unexpected(slept.error());
    }
    if (socket_) return -1;   // another fiber was faster
  }
}

Result<void> Core::connect() {
  if (socket_) return {};
  const Result<int> fd = connected_socket();
  if (!fd) return tl::unexpected(fd.error());
  if (*fd < 0) return {};
  if (socket_) {
    ::close(*fd);
    return {};
  }
  auto socket = std::make_shared<FrameSocket>(*fd);
  if (Result<void> started = socket->start(); !started) return started;
  const auto reader = [socket, weak = weak_from_this()] {
    const Error why = socket->read([&](const wire::Frame& frame, const std::function<int()>&) {
      const std::shared_ptr<Core> core = weak.lock();
      return core && core->take_answer(frame);
    });
    if (const std::shared_ptr<Core> core = weak.lock()) core->connection_lost(socket, why);
  };
  if (Result<void> started = net::Loop::current().spawn(net::Stack::session, reader); !started) {
    socket->shut_down();
    return started;
  }
  socket_ = std::move(socket);
  return {};
}

void Core::connection_lost(const std::shared_ptr<FrameSocket>& socket, const Error& why) {
  if (socket_ != socket) return;
  socket_.reset();
  log_.warning("lost the connection to the queue process: " + why.context);
  for (const auto& [request, pending] : std::exchange(pending_, {})) {
    pending->answer.ok = false;
    pending->answer.code = Errc::closed;
    pending->answer.text = "queue process went away";
    pending->event.set();
  }
  asking_for_ids_ = false;
  id_result_ = fail(Errc::closed, "queue process went away");
  for (const auto& waiter : std::exchange(id_waiters_, {})) waiter->set();
}

bool Core::take_answer(const wire::Frame& frame) {
  wire::Answer answer;
  if (frame.type != wire::Type::submitted && frame.type != wire::Type::reserved && frame.type != wire::Type::verified) return false;
  if (!wire::parse_answer(frame.type, frame.payload, answer)) return false;
  if (frame.type == wire::Type::reserved) {
    asking_for_ids_ = false;
    id_result_ = {};
    if (answer.ok) {
      ids_.push_back({answer.first, answer.first + kIdsAtOnce});
    } else {
      id_result_ = fail(answer.code, "queue ids");
    }
    for (const auto& waiter : std::exchange(id_waiters_, {})) waiter->set();
    return true;
  }
  const auto found = pending_.find(answer.request);
  if (found == pending_.end()) return true;   // its fiber was canceled
  const std::shared_ptr<Pending> pending = found->second;
  pending_.erase(found);
  pending->answer = std::move(answer);
  pending->event.set();
  return true;
}

void Core::ask_for_ids() {
  if (asking_for_ids_ || !socket_) return;
  asking_for_ids_ = true;
  wire::put_reserve({++last_request_, kIdsAtOnce}, socket_->output());
  socket_->output_added();
}

Result<void> Core::wait_for_ids() {
  if (Result<void> connected = connect(); !connected) return connected;
  ask_for_ids();
  const auto event = std::make_shared<net::Event>();
  id_waiters_.push_back(event);
  if (Result<void> waited = event->wait(Deadline::after(kAnswerTime)); !waited) return waited;
  return id_result_;
}

Result<std::string> Core::new_queue_id() {
  for (int losses = 0; ids_.empty();) {
    Result<void> waited = wait_for_ids();
    const bool again = !waited && waited.error().code == Errc::closed && ++losses < 2;
    if (!waited && !again) return tl::unexpected(waited.error());
  }
  Block& block = ids_.front();
  const std::uint64_t number = block.next++;
  const std::uint64_t left = block.end - block.next;
  if (left == 0) ids_.pop_front();
  if (left < kIdsLow && ids_.size() < 2) ask_for_ids();
  return format_queue_id(number, wall_now(), options_.long_queue_ids);
}

// The body (after headers, when they are given) in a new file that the queue can adopt.
Result<int> Core::spool(const std::string& headers, const mime::Body& body) const {
  if (options_.spool_directory < 0) return fail(Errc::io, "no spool directory for a large message");
  return net::offload([&]() -> Result<int> {
    const int fd = ::openat(options_.spool_directory, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0) return fail(Errc::io, std::string("spool file: ") + std::strerror(errno));
    Result<void> written;
    const auto write = [&](std::string_view piece) {
      while (!piece.empty()) {
        const ssize_t count = ::write(fd, piece.data(), piece.size());
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) {
          const bool full = errno == ENOSPC || errno == EDQUOT;
          written = fail(full ? Errc::no_space : Errc::io, std::string("spool file: ") + std::strerror(errno));
          return false;
        }
        piece.remove_prefix(static_cast<std::size_t>(count));
      }
      return true;
    };
    if (write(headers)) {
      const Result<void> read = body.for_each(write);
      if (written && !read) written = read;
    }
    if (written) return fd;
    ::close(fd);
    return tl::unexpected(written.error());
  });
}

Result<void> Core::submit(const mime::Envelope& envelope, mime::Message& message) {
  std::string blob;
  encode_envelope(envelope, {}, blob);
  std::string content = message.header_text();
  int fd = -1, own_fd = -1;
  if (!message.body.spilled() && content.size() + message.body.size() <= kInlineBytes) {
    content += message.body.memory();
  } else if (message.body.spilled() && content.size() <= kInlineBytes) {
    fd = message.body.fd();   // as it is: the headers travel, and are stored, apart
  } else {
    const bool with_headers = content.size() > kInlineBytes;
    const Result<int> spooled = spool(with_headers ? content : std::string(), message.body);
    if (!spooled) return tl::unexpected(spooled.error());
    if (with_headers) content.clear();
    fd = own_fd = *spooled;
  }
  Result<void> sent = send(blob, content, fd);
  if (!sent && sent.error().code == Errc::closed) {
    sent = send(blob, content, fd);
    // Ids are never used twice: the process that went away had stored it.
    if (!sent && sent.error().code == Errc::exists) sent = {};
  }
  if (own_fd >= 0) ::close(own_fd);
  return sent;
}

// One attempt: until the queue process answers or goes away.
Result<void> Core::send(const std::string& envelope, const std::string& content, int fd) {
  if (Result<void> connected = connect(); !connected) return connected;
  const std::uint64_t request = ++last_request_;
  const auto pending = std::make_shared<Pending>();
  pending_.emplace(request, pending);
  const wire::Submit submit{request, fd >= 0, envelope, content};
  if (fd >= 0) {
    std::string frame;
    wire::put_submit(submit, frame);
    Result<void> sent = socket_->send_with_fd(std::move(frame), fd);
    if (!sent) {
      pending_.erase(request);
      return sent;
    }
  } else {
    wire::put_submit(submit, socket_->output());
    socket_->output_added();
  }
  if (Result<void> waited = pending->event.wait(Deadline::after(kAnswerTime)); !waited) {
    pending_.erase(request);
    return waited;
  }
  if (pending->answer.ok) return {};
  return fail(pending->answer.code, pending->answer.text);
}

Result<smtp::Verified> Core::verify(const std::string& address, std::chrono::seconds wait) {
  if (Result<void> connected = connect(); !connected) return tl::unexpected(connected.error());
  const std::uint64_t request = ++last_request_;
  const auto pending = std::make_shared<Pending>();
  pending_.emplace(request, pending);
  wire::put_verify({request, static_cast<std::uint64_t>(wait.count()), address}, socket_->output());
  socket_->output_added();
  if (Result<void> waited = pending->event.wait(Deadline::after(wait + kConnectTime)); !waited) {
    pending_.erase(request);
    return tl::unexpected(waited.error());
  }
  const wire::Answer& answer = pending->answer;
  if (!answer.ok) return fail(answer.code, "address verification: " + answer.text);
  return smtp::Verified{static_cast<smtp::Verified::Status>(answer.what), answer.text};
}

bool Core::has_space(std::uint64_t bytes) {
  if (options_.spool_directory < 0) return true;
  const TimePoint now = SteadyClock::now();
  if (now - free_bytes_at_ >= kSpaceFresh) {
    struct statvfs status {};
    const bool told = ::fstatvfs(options_.spool_directory, &status) == 0;
    free_bytes_ = told ? std::uint64_t{status.f_bavail} * status.f_frsize : ~std::uint64_t{0};
    free_bytes_at_ = now;
  }
  return free_bytes_ >= options_.min_free_bytes && free_bytes_ - options_.min_free_bytes >= bytes;
}

class Client final : public smtp::MessageSink {
 public:
  Client(const ClientOptions& options, const log::Logger& log) : core_(std::make_shared<Core>(options, log)) {}
  ~Client() override { core_->close(); }
  // A copy of the pointer: a fiber that waits in there outlives a client that is destroyed.
  Result<std::string> new_queue_id() override { return std::shared_ptr(core_)->new_queue_id(); }
  Result<void> submit(const mime::Envelope& envelope, mime::Message& message) override {
    return std::shared_ptr(core_)->submit(envelope, message);
  }
  Result<smtp::Verified> verify(const std::string& address, std::chrono::seconds wait) override {
    return std::shared_ptr(core_)->verify(address, wait);
  }
  int spool_directory() const override { return core_->spool_directory(); }
  bool has_space(std::uint64_t bytes) override { return core_->has_space(bytes); }

 private:
  std::shared_ptr<Core> core_;
};

}  // namespace

std::unique_ptr<smtp::MessageSink> make_client(const ClientOptions& options, const log::Logger& log) {
  return std::make_unique<Client>(options, log);
}

}  // namespace millrace::queue
