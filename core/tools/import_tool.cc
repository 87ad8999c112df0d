#include "core/tools/import_tool.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/fsuid.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <optional>
#include <vector>

#include "core/base/clock.h"
#include "core/config/config.h"
#include "core/map/text.h"
#include "core/mime/message.h"
#include "core/queue/codec.h"
#include "core/queue/paths.h"
#include "core/queue/store.h"
#include "core/submit/queue_file.h"

namespace millrace::tools {
namespace {

constexpr std::size_t kInline = 16 * 1024;
constexpr std::size_t kMaxBounceLog = 16 << 20;
constexpr int kMaxDepth = 4;   // hash_queue_depth and the queue itself

struct Found {
  std::string path, id;
  queue::QueueName queue;
};

// Everything that is done as the owner of our queue, so that it can read what is made here.  Threads started
// meanwhile keep that identity; the files of the other system are read as who we are.
class AsOwner {
 public:
  AsOwner(uid_t uid, gid_t gid) : uid_(uid), gid_(gid) {
    if (::geteuid() == 0) enter();
  }
  ~AsOwner() {
    if (::geteuid() == 0) {
      ::setfsuid(0);
      ::setfsgid(::getegid());
    }
  }
  AsOwner(const AsOwner&) = delete;

 private:
  void enter() const {
    ::setfsgid(gid_);
    ::setfsuid(uid_);
  }
  uid_t uid_;
  gid_t gid_;
};

// A whole file, seen as bytes.
class Mapping {
 public:
  explicit Mapping(const std::string& path) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) return;
    if (::fstat(fd, &status_) == 0 && S_ISREG(status_.st_mode) && status_.st_size > 0) {
      size_ = static_cast<std::size_t>(status_.st_size);
      data_ = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, fd, 0);
    }
    ::close(fd);
  }
  ~Mapping() {
    if (good()) ::munmap(data_, size_);
  }
  Mapping(const Mapping&) = delete;
  bool good() const { return data_ != MAP_FAILED; }
  std::string_view bytes() const { return {static_cast<const char*>(data_), size_}; }
  const struct stat& status() const { return status_; }

 private:
  struct stat status_ {};
  void* data_ = MAP_FAILED;
  std::size_t size_ = 0;
};

class Import {
 public:
  Import(std::string directory, std::shared_ptr<const config::Config> config, bool dry_run)
      : directory_(std::move(directory)), config_(std::move(config)), dry_run_(dry_run) {}

  int run() {
    struct stat status {};
    if (::stat((directory_ + "/deferred").c_str(), &status) != 0 && ::stat((directory_ + "/incoming").c_str(), &status) != 0) {
      return fatal(directory_ + ": not a Postfix queue directory: neither deferred nor incoming is there");
    }
    const std::string own = config_->params().queue_directory;
    for (const std::string& queue : {directory_, own}) {
      if (const auto why = lock(queue); !why.empty()) return fatal(why);
    }
    if (!dry_run_) {
      if (const auto why = open_store(own); !why.empty()) return fatal(why);
    }
    collect();
    for (const Found& found : found_) take(found);
    if (store_) {
      const AsOwner as_owner(owner_, group_);
      if (auto closed = store_->close(); !closed) return fatal(closed.error().context);
    }
    fmt::print("{} message{} {}, {} left where {}\n", taken_, taken_ == 1 ? "" : "s", dry_run_ ? "would be taken over" : "taken over",
               left_, left_ == 1 ? "it is" : "they are");
    return left_ == 0 ? 0 : 1;
  }

 private:
  static int fatal(const std::string& text) {
    fmt::print(stderr, "postqueue: fatal: {}\n", text);
    return 1;
  }

  // Both masters keep pid/master.pid locked while they run.  "" or why not; held until the end.
  static std::string lock(const std::string& queue) {
    const std::string path = queue + "/pid/master.pid";
    const int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
    if (fd < 0) return errno == ENOENT ? "" : fmt::format("{}: {}", path, std::strerror(errno));
    struct stat here {}, there {};
    static std::vector<struct stat> held;   // one lock when both directories are one
    ::fstat(fd, &here);
    for (const auto& one : held) {
      there = one;
      if (there.st_dev == here.st_dev && there.st_ino == here.st_ino) return "";
    }
    if (::flock(fd, LOCK_EX | LOCK_NB) != 0) return fmt::format("a mail system is running on {}: stop it first", queue);
    held.push_back(here);
    return "";
  }

  std::string open_store(const std::string& own) {
    const std::string path = queue::store_directory(own);
    struct stat status {};
    if (::stat(path.c_str(), &status) != 0) {
      return fmt::format("{}: {} (start and stop millrace once: it makes its queue)", path, std::strerror(errno));
    }
    owner_ = status.st_uid;
    group_ = status.st_gid;
    const AsOwner as_owner(owner_, group_);
    spool_ = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    queue::StoreOptions options;
    options.directory = path;
    options.recover = false;
    auto store = queue::Store::open(options);
    if (!store || spool_ < 0) return store ? path + ": " + std::strerror(errno) : store.error().context;
    store_ = std::move(*store);
    return "";
  }

  void collect() {
    using queue::QueueName;
    const std::pair<const char*, QueueName> queues[] = {{"hold", QueueName::hold}, {"deferred", QueueName::deferred},
                                                        {"active", QueueName::incoming}, {"incoming", QueueName::incoming}};
    for (const auto& [name, queue] : queues) {
      std::error_code error;
      std::filesystem::recursive_directory_iterator at(directory_ + "/" + name, error), end;
      for (; !error && at != end; at.increment(error)) {
        if (at.depth() >= kMaxDepth) at.disable_recursion_pending();
        const auto status = at->symlink_status(error);
        if (error || !std::filesystem::is_regular_file(status)) continue;
        const std::string id = at->path().filename().string();
        if (queue::is_queue_id(id)) found_.push_back({at->path().string(), id, queue});
      }
      if (error && error.value() != ENOENT) complain(fmt::format("{}/{}: {}", directory_, name, error.message()));
    }
    std::sort(found_.begin(), found_.end(), [](const Found& a, const Found& b) { return a.path < b.path; });
  }

  void complain(const std::string& text) {
    fmt::print(stderr, "postqueue: warning: {}\n", text);
    ++left_;
  }

  // The paths under which Postfix keeps a log of that message: hashed or not.
  std::vector<std::string> log_files(const char* kind, const std::string& id) const {
    return {fmt::format("{}/{}/{}", directory_, kind, id), fmt::format("{}/{}/{}/{}", directory_, kind, id.substr(0, 1), id),
            fmt::format("{}/{}/{}/{}/{}", directory_, kind, id.substr(0, 1), id.substr(1, 1), id)};
  }

  void take(const Found& found) {
    const Mapping file(found.path);
    if (!file.good()) return complain(fmt::format("{}: cannot be read", found.path));
    if ((file.status().st_mode & S_IXUSR) == 0) return complain(fmt::format("{}: incomplete: its sender was told to try again", found.path));
    std::set<std::string> unreported;
    for (const std::string& path : log_files("bounce", found.id)) {
      if (const auto text = map::read_file(path, kMaxBounceLog)) unreported = submit::failed_recipients(*text);
    }
    mime::Body large(spool_, kInline);
    auto read = submit::read_queue_file(file.bytes(), unreported, queue::kMaxRecipients, [&](std::string_view piece) {
      const AsOwner as_owner(owner_, group_);
      return large.append(piece);
    });
    if (!read) return complain(fmt::format("{}: {}", found.path, read.error().context));
    queue::Entry entry;
    entry.envelope = std::move(read->envelope);
    for (mime::Recipient& one : entry.envelope.recipients) {
      queue::RecipientState state;
      state.recipient = std::move(one);
      entry.recipients.push_back(std::move(state));
    }
    entry.envelope.recipients.clear();
    entry.envelope.size = large.size();
    entry.queue = found.queue == queue::QueueName::hold ? queue::QueueName::hold : queue::QueueName::incoming;
    entry.queued = wall_now();
    entry.delay_warned = read->delay_warned;
    if (entry.envelope.arrival == 0) entry.envelope.arrival = file.status().st_mtim.tv_sec * 1000000LL;
    if (dry_run_) {
      fmt::print("{}: from=<{}>, {} recipients, {} octets\n", found.id, entry.envelope.sender, entry.recipients.size(), entry.envelope.size);
      ++taken_;
      return;
    }
    if (!entry.recipients.empty()) {
      if (const auto why = store(entry, large, found, file.status().st_mtim.tv_sec); !why.empty()) return complain(found.path + ": " + why);
    }
    if (::unlink(found.path.c_str()) != 0) complain(fmt::format("{}: remove: {}", found.path, std::strerror(errno)));
    for (const char* kind : {"bounce", "defer", "trace"}) {
      for (const std::string& path : log_files(kind, found.id)) ::unlink(path.c_str());
    }
    ++taken_;
  }

  std::string store(queue::Entry& entry, const mime::Body& body, const Found& found, time_t next_attempt) {
    const AsOwner as_owner(owner_, group_);
    const auto number = store_->reserve_ids(1);
    if (!number) return number.error().context;
    entry.envelope.queue_id = queue::format_queue_id(*number, wall_now(), config_->params().enable_long_queue_ids);
    const bool spilled = body.spilled();
    const int fd = spilled ? ::fcntl(body.fd(), F_DUPFD_CLOEXEC, 3) : -1;
    if (spilled && fd < 0) return std::strerror(errno);
    if (auto added = store_->add(entry, spilled ? std::string() : body.memory(), fd); !added) return added.error().context;
    if (found.queue == queue::QueueName::deferred) {
      queue::Update update;
      update.queue_id = entry.envelope.queue_id;
      update.queue = queue::QueueName::deferred;
      update.next_attempt = static_cast<WallMicros>(next_attempt) * 1000000;
      update.attempts = 1;
      if (auto applied = store_->apply(std::move(update)); !applied) return applied.error().context;
    }
    fmt::print("{} -> {}: from=<{}>, {} recipients\n", found.id, entry.envelope.queue_id, entry.envelope.sender, entry.recipients.size());
    return "";
  }

  const std::string directory_;
  const std::shared_ptr<const config::Config> config_;
  const bool dry_run_;
  std::unique_ptr<queue::Store> store_;
  std::vector<Found> found_;
  uid_t owner_ = 0;
  gid_t group_ = 0;
  int spool_ = -1;
  std::size_t taken_ = 0, left_ = 0;
};

}  // namespace

int import_main(int argc, char** argv, const std::string& config_directory) {
  bool dry_run = false;
  std::string directory;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == "-n") {
      dry_run = true;
    } else if (directory.empty() && !word.starts_with("-")) {
      directory = word;
    } else {
      directory.clear();
      break;
    }
  }
  while (directory.size() > 1 && directory.back() == '/') directory.pop_back();
  if (directory.empty()) {
    fmt::print(stderr, "postqueue: fatal: usage: millrace queue import [-n] POSTFIX-QUEUE-DIRECTORY\n");
    return 69;
  }
  config::Findings findings;
  const auto config = config::Config::load(config_directory, findings);
  return Import(directory, config, dry_run).run();
}

}  // namespace millrace::tools
