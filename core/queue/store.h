// The durable queue: one LMDB environment, side files for large messages, group commit.
//
// Guarantees: add() returns success only after the message is synced to disk.  A crash can repeat a
// delivery, never lose a message.  A damaged message goes to `corrupt`, others are unharmed.
// Thread rules: all calls from the queue process's loop; those marked [fiber] suspend while the
// committer thread writes and syncs.  Outside of a fiber (tools, tests) they block instead.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/result.h"
#include "core/mime/envelope.h"
#include "core/mime/message.h"

namespace millrace::queue {

enum class QueueName : std::uint8_t { incoming, active, deferred, hold, corrupt };
const char* queue_name(QueueName name);
std::optional<QueueName> parse_queue_name(std::string_view text);

// The message as stored: headers, empty line, body; canonical CRLF lines (see core/mime/message.h).
// Small content is in memory, large content in a side file.
class Content {
 public:
  explicit Content(std::shared_ptr<const std::string> bytes)
      : bytes_(std::move(bytes)), size_(bytes_ ? bytes_->size() : 0) {}
  // Owns the descriptor.  `prefix` (the header section, as a rule) stands before the file's bytes; `size`
  // counts both.
  Content(int fd, std::uint64_t size, std::string prefix = {});
  ~Content();
  Content(Content&&) noexcept;
  Content& operator=(Content&&) noexcept;
  std::uint64_t size() const { return size_; }
  // Up to out.size() bytes at `offset`; 0 at the end.  File reads go to the worker pool. [fiber]
  Result<std::size_t> read_at(std::uint64_t offset, std::span<char> out) const;
  // The whole content, when it is in memory; nullptr for a side file.
  const std::string* memory() const { return fd_ < 0 ? bytes_.get() : nullptr; }

 private:
  std::shared_ptr<const std::string> bytes_;   // all, or the prefix
  std::uint64_t size_ = 0;
  int fd_ = -1;
};

struct RecipientState {
  mime::Recipient recipient;
  bool done = false;          // delivered, bounced or removed
  // Of the last attempt, for mailq, bounces and delay notices.
  std::string dsn;            // "4.4.1"
  std::string reason;         // "connect to x[y]:25: Connection refused"
  std::string remote_mta;     // "dns; mx.example"
  std::string diagnostic;     // "smtp; 550 5.1.1 unknown"
  std::string action;         // "failed" "delayed" "delivered" "relayed": what bounce reports
};

struct Entry {
  mime::Envelope envelope;                 // recipients live in `recipients`, envelope.recipients is empty
  std::vector<RecipientState> recipients;
  QueueName queue = QueueName::incoming;
  WallMicros queued = 0;                   // when stored
  WallMicros next_attempt = 0;             // deferred: not before this
  std::uint32_t attempts = 0;
  std::uint32_t deaths = 0;                // crashes while in flight; 3 -> corrupt
  bool forced_expire = false;
  bool delay_warned = false;
  bool in_flight = false;                  // given to add(): its first attempt begins when add() returns
  bool single_bounce = false, double_bounce = false;   // this message is a bounce / a postmaster double bounce
};

// What a delivery attempt changes, committed with the next group commit.  An update with `queue` or
// `remove` ends the attempt: it clears the in-flight mark.
struct Update {
  std::string queue_id;
  std::optional<QueueName> queue;
  std::optional<WallMicros> next_attempt;
  std::optional<std::uint32_t> attempts;
  std::optional<bool> delay_warned, forced_expire;
  std::vector<std::pair<std::size_t, RecipientState>> recipients;  // by index in Entry::recipients
  bool remove = false;                      // and its content
};

// A summary for listings and the scheduler; cheap to keep in memory by the ten thousand.
struct Summary {
  std::string queue_id, sender;
  QueueName queue;
  WallMicros arrival, next_attempt;
  std::uint64_t size;
  std::uint32_t attempts;
  bool forced_expire;
};

struct StoreOptions {
  std::string directory;             // store_directory(), see paths.h; exists, owned by us
  std::uint64_t min_free_bytes = 0;  // refuse below: queue_minfree and 1.5 x message_size_limit
  std::size_t side_file_bytes = 16 * 1024;
  // Do in-flight marks found at open count as deaths?  Only when the queue process alone died under its
  // master; after a power cut, or a kill of everything, they say nothing about the message.
  bool count_deaths = true;
  // false: a tool that looks at the queue of a daemon that is down.  In-flight marks, active messages and
  // orphans are left for the daemon's own start.
  bool recover = true;
  bool sync = true;                  // false only in the ledger test's sabotaged build
  std::size_t initial_map_bytes = std::size_t{256} << 20;  // grows by itself
  std::uint32_t death_limit = 3;     // crashes while in flight before a message goes to corrupt
  log::Logger log{"postfix/qmgr"};
  // Called once, from a thread of the store, when a write or sync failed for another reason than space:
  // nothing can be stored any more, what was not acknowledged may or may not be there, and the process
  // must end; a new one recovers.
  std::function<void(const Error&)> on_failure;
};

class Store {
 public:
  // Opens or makes; recovers (orphaned side files swept, in-flight marks counted).  Errors: io, config,
  // refused when another process has the queue open (after waiting 3 s for it).
  static Result<std::unique_ptr<Store>> open(const StoreOptions& options);
  virtual ~Store() = default;

  // Stores a new message durably.  `content_fd` >= 0: an O_TMPFILE of the queue's file system (ownership
  // passes to the store) whose bytes follow `content`, which then holds the header section or nothing;
  // else `content` is the whole.  The entry's queue is incoming or hold.  Errors: no_space (452), io. [fiber]
  virtual Result<void> add(Entry entry, std::string content, int content_fd) = 0;

  using Done = std::function<void(const Result<void>&)>;
  // The same for content in memory, without a waiting fiber: `done` is called on the loop after the
  // commit, in one go for all messages of that commit. [loop]
  virtual void add_async(const Entry& entry, std::shared_ptr<const std::string> content, Done done) {
    done(add(entry, std::string(*content), -1));
  }

  // Numbers for queue ids, never given twice, also not after a crash: the first of `count`. [fiber]
  virtual Result<std::uint64_t> reserve_ids(std::uint64_t count) = 0;

  // Before an attempt: marks the messages in flight.  A mark is in memory shared with a file: it
  // outlives the death of the process, which is what it is for, and costs no commit.  Never waits.
  virtual Result<void> mark_in_flight(std::span<const std::string> queue_ids) = 0;
  // Changes after an attempt.  apply() waits for the commit, apply_later() rides on the next one (at
  // most 1 s later, and at a clean stop); until then load() and for_each() show the state before.
  // An update of a message that is not there any more: not_found, or nothing.
  virtual Result<void> apply(Update update) = 0;      // [fiber]
  virtual void apply_later(Update update) = 0;

  virtual Result<Entry> load(const std::string& queue_id) = 0;          // not_found, io; damaged: protocol
  virtual Result<Content> open_content(const std::string& queue_id) = 0;  // checksum verified
  // Calls `each` for every message of the queues until it returns false.  No transaction is open in
  // `each`, so it may wait; messages that come or go meanwhile may or may not be seen.
  virtual Result<void> for_each(const std::function<bool(const Summary&)>& each) = 0;
  // Moves a damaged message to corrupt and logs it.
  virtual void set_corrupt(const std::string& queue_id, const std::string& why) = 0;

  // Commits what apply_later() left, now.  [fiber]
  virtual Result<void> commit_pending() { return {}; }
  virtual bool failed() const { return false; }  // see StoreOptions::on_failure
  virtual std::uint64_t syncs() const = 0;     // for the benchmark
  virtual Result<void> close() = 0;            // commits what is pending; [fiber]
};

// Queue ids from a counter: short form upper-case hex (at least 10 digits), long form as
// enable_long_queue_ids has it (base 52 time, 'z', base 51 counter).  is_queue_id takes letters and digits
// only, 1 to 31 of them: such text is safe as a file name.
std::string format_queue_id(std::uint64_t number, WallMicros when, bool long_form);
bool is_queue_id(std::string_view text);

}  // namespace millrace::queue
