// The server on the control socket.
#include <unistd.h>

#include <set>

#include "core/net/fiber.h"
#include "core/net/stream.h"
#include "core/queue/control.h"
#include "core/queue/control_wire.h"
#include "core/queue/frame_socket.h"
#include "core/queue/peer.h"

namespace millrace::queue {
namespace {

constexpr std::size_t kPiece = 64 * 1024;

// Shared with the fibers of the connections.
struct Core : std::enable_shared_from_this<Core> {
  Core(Store& the_store, SchedulerControl* the_scheduler, const ControlOptions& the_options)
      : store(the_store), scheduler(the_scheduler), options(the_options),
        log(the_options.syslog_name + "/postsuper") {}

  void accepted(int fd);
  void serve(FrameSocket& socket, const Strings& request, uid_t user);
  void list(FrameSocket& socket);
  void cat(FrameSocket& socket, const std::string& queue_id);
  void change(FrameSocket& socket, const Strings& request);
  static void put(FrameSocket& socket, wire::Type type, const Strings& strings) {
    wire::put_strings(type, strings, socket.output());
    socket.output_added();
  }
  static void failed(FrameSocket& socket, const char* kind, const std::string& text) {
    put(socket, wire::Type::failed, {kind, text});
  }

  Store& store;
  SchedulerControl* scheduler;
  ControlOptions options;
  log::Logger log;
  std::set<std::shared_ptr<FrameSocket>> connections;
};

void Core::accepted(int fd) {
  const std::optional<uid_t> user = peer_user(fd);
  if (!user) {
    ::close(fd);
    return;
  }
  auto socket = std::make_shared<FrameSocket>(fd);
  const auto reader = [self = shared_from_this(), socket, user = *user] {
    Strings request;
    socket->read([&](const wire::Frame& frame, const std::function<int()>&) {
      if (frame.type != wire::Type::request || !wire::parse_strings(frame.payload, request)) return false;
      self->serve(*socket, request, user);
      return true;
    });
    self->connections.erase(socket);
  };
  if (!socket->start() || !net::Loop::current().spawn(net::Stack::plugin, reader)) {
    socket->shut_down();
    return;
  }
  connections.insert(socket);
}

void Core::serve(FrameSocket& socket, const Strings& request, uid_t user) {
  const std::string operation = request.empty() ? "" : request[0];
  const bool may_change = user == 0 || user == options.owner || user == ::geteuid();
  const auto refused = [&](const std::function<Result<std::string>(uid_t)>& rule, const char* what) {
    if (may_change || !rule) return false;
    const Result<std::string> outsider = rule(user);
    if (outsider && outsider->empty()) return false;
    if (!outsider) log.warning(outsider.error().context);
    failed(socket, "denied", "User " + outsider.value_or(std::to_string(user)) + " is not allowed to " + what);
    return true;
  };
  if (operation == "list" && refused(options.list_outsider, "view the mail queue")) return;
  if ((operation == "flush" || operation == "site") && refused(options.flush_outsider, "flush the mail queue")) return;
  if (operation == "list" && request.size() == 1) return list(socket);
  if (operation == "flush" && request.size() <= 2) {
    if (scheduler != nullptr && request.size() == 1) scheduler->flush_all();
    if (scheduler != nullptr && request.size() == 2) scheduler->flush(request[1]);
    return put(socket, wire::Type::done, {});
  }
  if (operation == "site" && request.size() == 2) {
    if (scheduler != nullptr && !scheduler->flush_site(request[1])) {
      return failed(socket, "not_eligible", "Flush service is not configured for destination \"" + request[1] + "\"");
    }
    return put(socket, wire::Type::done, {});
  }
  if (operation != "cat" && operation != "change") return failed(socket, "invalid", "unknown request: " + operation);
  // Content is as private as changing is powerful.
  if (!may_change) return failed(socket, "denied", "use of this command is reserved for the superuser");
  if (operation == "cat" && request.size() == 2) return cat(socket, request[1]);
  if (operation == "change" && request.size() >= 3) return change(socket, request);
  failed(socket, "invalid", "wrong number of arguments");
}

void Core::list(FrameSocket& socket) {
  bool alive = true;
  const Result<void> listed = list_queue(store, scheduler, [&](const Listing& listing) {
    for (const Strings& item : encode_listing(listing)) put(socket, wire::Type::item, item);
    alive = socket.drain().has_value();
    return alive;
  });
  if (!alive) return;
  if (!listed) return failed(socket, "error", listed.error().context);
  put(socket, wire::Type::done, {});
}

void Core::cat(FrameSocket& socket, const std::string& queue_id) {
  Result<Entry> entry = store.load(queue_id);
  if (!entry) {
    return failed(socket, entry.error().code == Errc::not_found ? "not_found" : "error", entry.error().context);
  }
  const bool queued = entry->queue == QueueName::incoming || entry->queue == QueueName::deferred;
  if (queued && scheduler != nullptr && scheduler->is_active(queue_id)) entry->queue = QueueName::active;
  put(socket, wire::Type::item, encode_entry(*entry));
  const Result<Content> content = store.open_content(queue_id);
  if (!content) return failed(socket, "error", content.error().context);
  std::string piece(kPiece, '\0');
  for (std::uint64_t at = 0;;) {
    const Result<std::size_t> got = content->read_at(at, piece);
    if (!got) return failed(socket, "error", got.error().context);
    if (*got == 0) break;
    put(socket, wire::Type::item, {"content", piece.substr(0, *got)});
    at += *got;
    if (!socket.drain()) return;
  }
  put(socket, wire::Type::done, {});
}

void Core::change(FrameSocket& socket, const Strings& request) {
  const std::optional<Change> change = parse_change(request[1]);
  const std::string& queue_id = request[2];
  if (!change || (!queue_id.empty() && !is_queue_id(queue_id))) return failed(socket, "invalid", "bad request");
  std::vector<QueueName> queues;
  for (std::size_t i = 3; i < request.size(); ++i) {
    const std::optional<QueueName> queue = parse_queue_name(request[i]);
    if (!queue) return failed(socket, "invalid", "no such queue: " + request[i]);
    queues.push_back(*queue);
  }
  if (queues.empty()) queues = default_queues(*change);
  const Result<Changed> changed = change_queue(store, scheduler, *change, queue_id, queues);
  if (!changed) return failed(socket, "error", changed.error().context);
  if (!queue_id.empty() && changed->changed > 0) log.info(queue_id + ": " + change_done(*change));
  if (!queue_id.empty() && changed->released > 0) log.info(queue_id + ": " + change_done(Change::release));
  if (queue_id.empty() && changed->changed > 0) {
    log.info(std::to_string(changed->changed) + " messages " + change_done(*change));
  }
  put(socket, wire::Type::done, {std::to_string(changed->changed), std::to_string(changed->released)});
}

class ControlServerImpl final : public ControlServer {
 public:
  ControlServerImpl(Store& store, SchedulerControl* scheduler, const ControlOptions& options)
      : core_(std::make_shared<Core>(store, scheduler, options)),
        acceptor_(options.listening_fd, [core = core_](int fd) { core->accepted(fd); }) {}
  ~ControlServerImpl() override {
    for (const auto& socket : core_->connections) socket->shut_down();
  }

 private:
  std::shared_ptr<Core> core_;
  net::Acceptor acceptor_;
};

}  // namespace

std::unique_ptr<ControlServer> ControlServer::start(Store& store, SchedulerControl* scheduler,
                                                    const ControlOptions& options) {
  return std::make_unique<ControlServerImpl>(store, scheduler, options);
}

}  // namespace millrace::queue
