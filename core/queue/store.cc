// The store: puts together the database, the committer, the side files and the in-flight marks.
#include "core/queue/store.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <set>
#include <mutex>
#include <thread>

#include "core/net/fiber.h"
#include "core/queue/checksum.h"
#include "core/queue/codec.h"
#include "core/queue/committer.h"
#include "core/queue/database.h"
#include "core/queue/in_flight.h"
#include "core/queue/side_files.h"

namespace millrace::queue {
namespace {

constexpr std::uint64_t kIdBlock = 65536;        // numbers persisted ahead; lost at each start
constexpr std::size_t kRowsAtOnce = 256;
constexpr std::chrono::seconds kLockWait{3};     // for the process before us to end

// Runs blocking work where it does not stop the loop.
template <typename F>
auto blocking(F&& work) {
  return net::in_fiber() ? net::offload(work) : work();
}

class StoreImpl final : public Store {
 public:
  explicit StoreImpl(StoreOptions options) : options_(std::move(options)) {}
  ~StoreImpl() override {
    if (committer_) committer_->stop();
    committer_.reset();
    database_.reset();
    if (lock_fd_ >= 0) ::close(lock_fd_);
  }

  Result<void> open();

  Result<void> add(Entry entry, std::string content, int content_fd) override;
  void add_async(const Entry& entry, std::shared_ptr<const std::string> content, Done done) override;
  Result<std::uint64_t> reserve_ids(std::uint64_t count) override;
  Result<void> mark_in_flight(std::span<const std::string> queue_ids) override;
  Result<void> apply(Update update) override { return wait_for(operation(std::move(update))); }
  void apply_later(Update update) override {
    committer_->submit(operation(std::move(update)), Committer::When::later);
  }
  Result<Entry> load(const std::string& queue_id) override;
  Result<Content> open_content(const std::string& queue_id) override;
  Result<void> for_each(const std::function<bool(const Summary&)>& each) override;
  void set_corrupt(const std::string& queue_id, const std::string& why) override;
  Result<void> commit_pending() override;
  bool failed() const override { return committer_->failed(); }
  std::uint64_t syncs() const override { return committer_->commits(); }
  Result<void> close() override;

 private:
  Result<void> lock();
  Result<void> recover(const std::vector<std::string>& in_flight);
  Operation addition(const Entry& entry, std::shared_ptr<const std::string> content);
  Result<void> unmark_unless(Result<void> stored, const std::string& queue_id);
  Operation operation(Update update);
  Result<void> wait_for(Operation operation);

  StoreOptions options_;
  int lock_fd_ = -1;
  SideFiles side_files_;
  InFlight in_flight_;
  std::unique_ptr<Database> database_;
  std::unique_ptr<Committer> committer_;
  std::uint64_t next_id_ = 0, persisted_id_ = 0;
  bool closed_ = false;
};

// Two processes with one queue would deliver everything twice.
Result<void> StoreImpl::lock() {
  const std::string path = options_.directory + "/queue.lock";
  lock_fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (lock_fd_ < 0) return fail(Errc::io, path + ": " + std::strerror(errno));
  const Deadline deadline = Deadline::after(kLockWait);
  while (::flock(lock_fd_, LOCK_EX | LOCK_NB) != 0) {
    if (deadline.passed()) return fail(Errc::refused, path + ": another process has the queue open");
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return {};
}

Result<void> StoreImpl::open() {
  struct stat status {};
  if (::stat(options_.directory.c_str(), &status) != 0 || !S_ISDIR(status.st_mode)) {
    return fail(Errc::config, options_.directory + ": no such directory");
  }
  if (Result<void> locked = lock(); !locked) return locked;
  if (Result<void> made = side_files_.open(options_.directory, options_.sync); !made) return made;
  Result<std::unique_ptr<Database>> database =
      Database::open(options_.directory + "/queue.mdb", options_.initial_map_bytes, options_.sync);
  if (!database) return tl::unexpected(database.error());
  database_ = std::move(*database);
  if (options_.recover) {
    Result<std::vector<std::string>> marks = in_flight_.open(options_.directory + "/inflight");
    if (!marks) return tl::unexpected(marks.error());
    if (Result<void> recovered = recover(*marks); !recovered) return recovered;
  }
  Result<std::uint64_t> next = database_->next_id();
  if (!next) return tl::unexpected(next.error());
  // A new environment begins at a number made from the time: should the old one be thrown away, its ids
  // are not given again unless it gave more than 1024 a second all its life.
  constexpr WallMicros kYear2020 = 1577836800LL * 1000000;
  if (*next == 0) *next = static_cast<std::uint64_t>((wall_now() - kYear2020) / 1000000) * 1024;
  next_id_ = persisted_id_ = *next;
  committer_ = std::make_unique<Committer>(
      *database_, Committer::Options{options_.directory, options_.min_free_bytes,
                                     [this](const std::string& id) { side_files_.remove(id); },
                                     options_.on_failure});
  return {};
}

Result<void> StoreImpl::recover(const std::vector<std::string>& in_flight) {
  std::set<std::string> died;
  if (options_.count_deaths) {
    for (const std::string& id : in_flight) died.insert(id);
  }
  std::vector<std::string> side_files;
  std::vector<Operation> changes;
  for (std::string after;;) {
    Result<std::vector<Database::Row>> rows = database_->rows_after(after, kRowsAtOnce);
    if (!rows) return tl::unexpected(rows.error());
    if (rows->empty()) break;
    for (const Database::Row& row : *rows) {
      if (!row.state || row.state->side_file) side_files.push_back(row.queue_id);
      if (!row.state) continue;
      const bool was_in_flight = died.contains(row.queue_id);
      if (!was_in_flight && row.state->queue != QueueName::active) continue;
      Operation& change = changes.emplace_back();
      change.queue_id = row.queue_id;
      if (row.state->queue == QueueName::active) {
        change.update.queue = row.state->attempts == 0 ? QueueName::incoming : QueueName::deferred;
      }
      if (!was_in_flight) continue;
      change.deaths = row.state->deaths + 1;
      if (*change.deaths < options_.death_limit) continue;
      change.update.queue = QueueName::corrupt;
      options_.log.warning(row.queue_id + ": in flight at " + std::to_string(*change.deaths) +
                           " deaths of the queue process: moved to corrupt");
    }
    after = rows->back().queue_id;
  }
  std::vector<Operation*> batch;
  for (std::size_t i = 0; i < changes.size(); ++i) {
    batch.push_back(&changes[i]);
    if (batch.size() < Committer::kMaxOperations && i + 1 < changes.size()) continue;
    Error why;
    if (database_->commit(batch, why) != Database::Outcome::done) return tl::unexpected(why);
    batch.clear();
  }
  const std::size_t orphans = side_files_.sweep([&](const std::string& id) {
    return std::binary_search(side_files.begin(), side_files.end(), id);   // rows come in order
  });
  if (orphans > 0) options_.log.info("removed " + std::to_string(orphans) + " orphaned side files");
  return {};
}

Operation StoreImpl::addition(const Entry& entry, std::shared_ptr<const std::string> content) {
  Operation out;
  out.kind = Operation::Kind::add;
  out.queue_id = entry.envelope.queue_id;
  encode_envelope(entry.envelope, entry.recipients, out.envelope);
  State state;
  state.queue = entry.queue;
  state.queued = entry.queued != 0 ? entry.queued : wall_now();
  state.arrival = entry.envelope.arrival;
  state.next_attempt = entry.next_attempt;
  state.size = entry.envelope.size != 0 ? entry.envelope.size : content->size();
  state.attempts = entry.attempts;
  state.forced_expire = entry.forced_expire;
  state.delay_warned = entry.delay_warned;
  state.single_bounce = entry.single_bounce;
  state.double_bounce = entry.double_bounce;
  state.sender = entry.envelope.sender;
  // No mark is no harm: it only counts should this process die during the first attempt.
  if (entry.in_flight) (void)in_flight_.mark(entry.envelope.queue_id);
  out.content = std::move(content);
  encode_state(state, out.state);
  return out;
}

Result<void> StoreImpl::add(Entry entry, std::string content, int content_fd) {
  const std::string id = entry.envelope.queue_id;
  if (!is_queue_id(id)) {
    if (content_fd >= 0) ::close(content_fd);
    return fail(Errc::internal, "queue: add without a queue id");
  }
  if (content_fd < 0 && content.size() > options_.side_file_bytes) {
    // Whoever makes a large message in memory (a bounce, say) need not know about side files.
    content_fd = ::open((options_.directory + "/side").c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (content_fd < 0) return fail(Errc::io, id + ": O_TMPFILE: " + std::strerror(errno));
    for (std::size_t at = 0; at < content.size();) {
      const ssize_t wrote = ::write(content_fd, content.data() + at, content.size() - at);
      if (wrote < 0 && errno == EINTR) continue;
      if (wrote < 0) {
        const Errc code = errno == ENOSPC || errno == EDQUOT ? Errc::no_space : Errc::io;
        const std::string text = id + ": write side file: " + std::strerror(errno);
        ::close(content_fd);
        return fail(code, text);
      }
      at += static_cast<std::size_t>(wrote);
    }
    content.clear();
  }
  auto bytes = std::make_shared<const std::string>(std::move(content));
  if (content_fd < 0) return unmark_unless(wait_for(addition(entry, std::move(bytes))), id);

  const Result<std::optional<State>> existing = database_->state(id);
  if (!existing || *existing) {
    ::close(content_fd);
    return existing ? fail(Errc::exists, id + ": queue id is in use") : tl::unexpected(existing.error());
  }
  const Result<SideFiles::Adopted> adopted = blocking([&]() -> Result<SideFiles::Adopted> {
    struct stat status {};
    const std::uint64_t size = ::fstat(content_fd, &status) == 0 ? static_cast<std::uint64_t>(status.st_size) : 0;
    // Its blocks are taken already, as a rule; what it may not have yet is delayed allocation.
    if (free_bytes(options_.directory) < options_.min_free_bytes + size) {
      return fail(Errc::no_space, "queue: not enough free space");
    }
    return side_files_.adopt(content_fd, id, crc32c(*bytes));
  });
  ::close(content_fd);
  if (!adopted) return tl::unexpected(adopted.error());
  if (entry.envelope.size == 0) entry.envelope.size = bytes->size() + adopted->size;
  Operation operation = addition(entry, std::move(bytes));
  State state = *decode_state(operation.state);
  state.side_file = true;
  operation.state.clear();
  encode_state(state, operation.state);
  operation.side_file = true;
  operation.content_size = operation.content->size() + adopted->size;
  operation.content_crc = adopted->crc;
  return unmark_unless(wait_for(std::move(operation)), id);
}

Result<void> StoreImpl::unmark_unless(Result<void> stored, const std::string& queue_id) {
  if (!stored) in_flight_.clear(queue_id);
  return stored;
}

void StoreImpl::add_async(const Entry& entry, std::shared_ptr<const std::string> content, Done done) {
  if (!is_queue_id(entry.envelope.queue_id)) {
    done(fail(Errc::internal, "queue: add without a queue id"));
    return;
  }
  Operation operation = addition(entry, std::move(content));
  operation.loop = net::Loop::current_or_null();
  operation.done = [this, id = entry.envelope.queue_id, done = std::move(done)](const Result<void>& stored) {
    if (!stored) in_flight_.clear(id);
    done(stored);
  };
  committer_->submit(std::move(operation), Committer::When::now);
}

Result<void> StoreImpl::mark_in_flight(std::span<const std::string> queue_ids) {
  for (const std::string& id : queue_ids) {
    if (Result<void> marked = in_flight_.mark(id); !marked) return marked;
  }
  return {};
}

Operation StoreImpl::operation(Update update) {
  if (update.queue || update.remove) in_flight_.clear(update.queue_id);
  Operation out;
  out.queue_id = update.queue_id;
  out.update = std::move(update);
  return out;
}

Result<void> StoreImpl::wait_for(Operation operation) {
  if (closed_) return fail(Errc::closed, "queue: closed");
  if (net::in_fiber()) {
    // Shared: when the wait is canceled, the operation still completes.
    struct Wait {
      net::Event event;
      Result<void> result;
    };
    const auto wait = std::make_shared<Wait>();
    operation.loop = &net::Loop::current();
    operation.done = [wait](const Result<void>& result) {
      wait->result = result;
      wait->event.set();
    };
    committer_->submit(std::move(operation), Committer::When::now);
    if (Result<void> woken = wait->event.wait(Deadline::never()); !woken) return woken;
    return wait->result;
  }
  struct Wait {
    std::mutex mutex;
    std::condition_variable done;
    std::optional<Result<void>> result;
  } wait;
  operation.done = [&wait](const Result<void>& result) {
    const std::lock_guard lock(wait.mutex);
    wait.result = result;
    wait.done.notify_one();
  };
  committer_->submit(std::move(operation), Committer::When::now);
  std::unique_lock lock(wait.mutex);
  wait.done.wait(lock, [&] { return wait.result.has_value(); });
  return *wait.result;
}

Result<std::uint64_t> StoreImpl::reserve_ids(std::uint64_t count) {
  const std::uint64_t first = next_id_;
  next_id_ += count;
  const std::uint64_t needed = next_id_;
  if (needed > persisted_id_) {
    Operation operation;
    operation.kind = Operation::Kind::next_id;
    operation.next_id = needed + kIdBlock;
    const std::uint64_t persisted = operation.next_id;
    if (Result<void> stored = wait_for(std::move(operation)); !stored) return tl::unexpected(stored.error());
    persisted_id_ = std::max(persisted_id_, persisted);
  }
  return first;
}

Result<Entry> StoreImpl::load(const std::string& queue_id) {
  Result<std::optional<State>> state = database_->state(queue_id);
  if (!state) return tl::unexpected(state.error());
  if (!*state) return fail(Errc::not_found, queue_id + ": no such message");
  Result<Database::Message> message = database_->message(queue_id, false);
  if (!message) {
    // A state without its message is damage, not absence.
    if (message.error().code != Errc::not_found) return tl::unexpected(message.error());
    return fail(Errc::protocol, queue_id + ": message record is missing");
  }
  Entry entry;
  if (!decode_envelope(message->envelope, entry.envelope, entry.recipients) ||
      entry.envelope.queue_id != queue_id) {
    return fail(Errc::protocol, queue_id + ": damaged envelope");
  }
  const State& s = **state;
  entry.queue = s.queue;
  entry.queued = s.queued;
  entry.next_attempt = s.next_attempt;
  entry.attempts = s.attempts;
  entry.deaths = s.deaths;
  entry.forced_expire = s.forced_expire;
  entry.delay_warned = s.delay_warned;
  entry.single_bounce = s.single_bounce;
  entry.double_bounce = s.double_bounce;
  if (!s.recipient_records) return entry;
  auto outcomes = database_->recipients(queue_id);
  if (!outcomes) return tl::unexpected(outcomes.error());
  for (auto& [index, outcome] : *outcomes) {
    if (index >= entry.recipients.size()) continue;
    outcome.recipient = std::move(entry.recipients[index].recipient);
    entry.recipients[index] = std::move(outcome);
  }
  return entry;
}

Result<Content> StoreImpl::open_content(const std::string& queue_id) {
  Result<Database::Message> message = database_->message(queue_id, true);
  if (!message) return tl::unexpected(message.error());
  const MessageHeader& header = message->header;
  const std::uint32_t inline_crc = crc32c(message->content);
  const auto damaged = [&] { return fail(Errc::protocol, queue_id + ": content does not match its checksum"); };
  if (!header.side_file) {
    if (inline_crc != header.content_crc) return damaged();
    return Content(std::make_shared<const std::string>(std::move(message->content)));
  }
  const Result<int> fd = side_files_.open_file(queue_id);
  if (!fd) {
    if (fd.error().code != Errc::not_found) return tl::unexpected(fd.error());
    return fail(Errc::protocol, queue_id + ": side file is missing");
  }
  Content content(*fd, header.content_size, std::move(message->content));   // owns it from here on
  std::uint64_t size = 0;
  const Result<std::uint32_t> crc = blocking([&] { return file_crc(*fd, inline_crc, size); });
  if (!crc) return tl::unexpected(crc.error());
  if (size + header.inline_size != header.content_size || *crc != header.content_crc) return damaged();
  return content;
}

Result<void> StoreImpl::for_each(const std::function<bool(const Summary&)>& each) {
  for (std::string after;;) {
    Result<std::vector<Database::Row>> rows = database_->rows_after(after, kRowsAtOnce);
    if (!rows) return tl::unexpected(rows.error());
    if (rows->empty()) return {};
    after = rows->back().queue_id;
    for (Database::Row& row : *rows) {
      Summary summary{};
      summary.queue_id = std::move(row.queue_id);
      summary.queue = QueueName::corrupt;
      if (row.state) {
        summary.sender = std::move(row.state->sender);
        summary.queue = row.state->queue;
        summary.arrival = row.state->arrival;
        summary.next_attempt = row.state->next_attempt;
        summary.size = row.state->size;
        summary.attempts = row.state->attempts;
        summary.forced_expire = row.state->forced_expire;
      }
      if (!each(summary)) return {};
    }
  }
}

void StoreImpl::set_corrupt(const std::string& queue_id, const std::string& why) {
  options_.log.warning(queue_id + ": moved to corrupt: " + why);
  Update update;
  update.queue_id = queue_id;
  update.queue = QueueName::corrupt;
  Operation change = operation(std::move(update));
  change.force = true;
  committer_->submit(std::move(change), Committer::When::later);
}

Result<void> StoreImpl::commit_pending() {
  // Changes are made in order: when this one is through, all before it are.
  Operation marker;
  marker.kind = Operation::Kind::next_id;
  return wait_for(std::move(marker));
}

Result<void> StoreImpl::close() {
  if (closed_) return {};
  closed_ = true;
  blocking([this] { committer_->stop(); });
  const bool failed = committer_->failed();
  database_->close();
  if (failed) return fail(Errc::io, "queue: a write failed before the stop");
  return {};
}

}  // namespace

Result<std::unique_ptr<Store>> Store::open(const StoreOptions& options) {
  auto store = std::make_unique<StoreImpl>(options);
  if (Result<void> opened = store->open(); !opened) return tl::unexpected(opened.error());
  return std::unique_ptr<Store>(std::move(store));
}

}  // namespace millrace::queue
