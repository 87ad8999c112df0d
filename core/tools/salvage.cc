#include "core/tools/salvage.h"

#include <fcntl.h>
#include <grp.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <functional>

#include "core/base/strings.h"
#include "core/queue/paths.h"
#include "core/queue/store.h"

namespace millrace::tools {
namespace {

constexpr int kMaxCrashes = 1000;
constexpr std::size_t kPiece = 64 * 1024;

// What a child says, a line each: "at ID" before a message is touched, "good ID", "bad ID why", "end".
class Speaker {
 public:
  explicit Speaker(int fd) : fd_(fd) {}
  void say(const std::string& line) const {
    const std::string text = line + "\n";
    (void)!::write(fd_, text.data(), text.size());
  }

 private:
  int fd_;
};

Result<std::unique_ptr<queue::Store>> open_store(const std::string& directory) {
  queue::StoreOptions options;
  options.directory = directory;
  options.recover = false;
  return queue::Store::open(options);
}

// Content into memory or, when it is large, into a file of the new store's file system.
Result<void> copy_content(const queue::Content& content, const std::string& directory, std::string& small, int& fd) {
  std::string piece(kPiece, '\0');
  if (content.size() > kPiece) {
    fd = ::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0) return fail(Errc::io, directory + ": " + std::strerror(errno));
  }
  for (std::uint64_t at = 0;;) {
    const auto got = content.read_at(at, piece);
    if (!got) return tl::unexpected(got.error());
    if (*got == 0) return {};
    if (fd < 0) small.append(piece, 0, *got);
    else if (::write(fd, piece.data(), *got) != static_cast<ssize_t>(*got)) return fail(Errc::io, std::strerror(errno));
    at += *got;
  }
}

// One message: read whole, checksums compared, and stored in `target` when there is one.
Result<void> take(queue::Store& source, queue::Store* target, const std::string& directory, const std::string& id) {
  auto entry = source.load(id);
  if (!entry) return tl::unexpected(entry.error());
  const auto content = source.open_content(id);
  if (!content) return tl::unexpected(content.error());
  std::string small;
  int fd = -1;
  if (auto copied = copy_content(*content, directory, small, fd); !copied) {
    if (fd >= 0) ::close(fd);
    return copied;
  }
  if (target == nullptr) {
    if (fd >= 0) ::close(fd);
    return {};
  }
  const queue::QueueName where = entry->queue;
  if (where != queue::QueueName::hold) entry->queue = queue::QueueName::incoming;
  queue::Update state;
  state.queue_id = id;
  state.queue = where == queue::QueueName::active ? queue::QueueName::incoming : where;
  state.next_attempt = entry->next_attempt;
  state.attempts = entry->attempts;
  for (std::size_t i = 0; i < entry->recipients.size(); ++i) {
    if (entry->recipients[i].done || !entry->recipients[i].reason.empty()) state.recipients.emplace_back(i, entry->recipients[i]);
  }
  if (auto added = target->add(std::move(*entry), std::move(small), fd); !added) return added;
  return target->apply(std::move(state));
}

// In a child: every message after `from` but those in `skip`.
int read_all(const std::string& from_directory, const std::string& to_directory, const std::string& from,
             const std::vector<std::string>& skip, const Speaker& speaker) {
  auto source = open_store(from_directory);
  if (!source) {
    speaker.say("bad - " + source.error().context);
    return 1;
  }
  std::unique_ptr<queue::Store> target;
  if (!to_directory.empty()) {
    auto opened = open_store(to_directory);
    if (!opened) {
      speaker.say("bad - " + opened.error().context);
      return 1;
    }
    target = std::move(*opened);
  }
  const auto listed = (*source)->for_each([&](const queue::Summary& summary) {
    const std::string& id = summary.queue_id;
    if (!(from.empty() || id > from) || std::find(skip.begin(), skip.end(), id) != skip.end()) return true;
    speaker.say("at " + id);
    const auto taken = take(**source, target.get(), to_directory.empty() ? from_directory : to_directory, id);
    speaker.say(taken ? "good " + id : "bad " + id + " " + printable(taken.error().context));
    return true;
  });
  if (target && !target->close()) return 1;
  if (!listed) speaker.say("bad - " + printable(listed.error().context));
  speaker.say("end");
  return 0;
}

// Runs children until one comes to the end.
void walk(const std::string& from, const std::string& to, Salvage& out) {
  std::vector<std::string> skip;
  std::string last;
  for (int crashes = 0; crashes < kMaxCrashes; ++crashes) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return;
    std::fflush(nullptr);
    const pid_t pid = ::fork();
    if (pid == 0) {
      ::close(ends[0]);
      ::_exit(read_all(from, to, last, skip, Speaker(ends[1])));
    }
    ::close(ends[1]);
    std::FILE* const input = ::fdopen(ends[0], "r");
    bool ended = false;
    std::string at, line;
    for (int c; (c = std::fgetc(input)) != EOF;) {
      if (c != '\n') {
        line += static_cast<char>(c);
        continue;
      }
      std::string_view rest = line;
      const std::string_view word = take_word(rest, " ");
      if (word == "end") ended = true;
      if (word == "at") at = trim(rest);
      if (word == "good") ++out.good;
      if (word == "bad") out.damaged.emplace_back(trim(rest));
      if (word == "good" || word == "bad") {
        if (!at.empty()) last = std::exchange(at, {});
      }
      line.clear();
    }
    std::fclose(input);
    int status = 0;
    ::waitpid(pid, &status, 0);
    if (ended || (WIFEXITED(status) && at.empty())) {
      if (!ended && out.damaged.empty()) out.damaged.emplace_back("the database cannot be opened");
      return;
    }
    if (at.empty()) {   // it died between messages: there is nothing to step over
      out.damaged.emplace_back("what comes after " + (last.empty() ? "the beginning" : last));
      return;
    }
    out.damaged.push_back(at + " (reading it crashes)");
    skip.push_back(at);
  }
}

}  // namespace

Result<Salvage> salvage_store(const std::string& queue_directory) {
  const std::string store = queue::store_directory(queue_directory);
  // The master's lock; ours until we end, so that no daemon starts meanwhile.
  const int lock = ::open((queue_directory + "/pid/master.pid").c_str(), O_RDWR | O_CLOEXEC);
  if (lock >= 0 && ::flock(lock, LOCK_EX | LOCK_NB) != 0) return fail(Errc::refused, "the mail system is running: stop it first");
  struct stat status {};
  if (::stat(store.c_str(), &status) != 0) return fail(errno == EACCES ? Errc::refused : Errc::io, store + ": " + std::strerror(errno));
  // Only root can rename below queue_directory, and only as the owner are the new files as they must be.
  Salvage found;
  const auto as_owner = [&](const std::function<void()>& work) {
    const bool change = ::geteuid() == 0 && status.st_uid != 0;
    if (change && (::setegid(status.st_gid) != 0 || ::seteuid(status.st_uid) != 0)) return false;
    work();
    return !change || (::seteuid(0) == 0 && ::setegid(0) == 0);
  };
  if (!as_owner([&] { walk(store, "", found); })) return fail(Errc::io, "cannot become the owner of the queue");
  if (found.damaged.empty()) return found;
  const std::string kept = store + ".damaged." + std::to_string(std::time(nullptr));
  if (::rename(store.c_str(), kept.c_str()) != 0) return fail(Errc::io, "rename " + store + ": " + std::strerror(errno));
  if (::mkdir(store.c_str(), 0700) != 0 || (::geteuid() == 0 && ::chown(store.c_str(), status.st_uid, status.st_gid) != 0)) {
    return fail(Errc::io, store + ": " + std::strerror(errno));
  }
  Salvage out;
  out.kept_as = kept;
  if (!as_owner([&] { walk(kept, store, out); })) return fail(Errc::io, "cannot become the owner of the queue");
  return out;
}

}  // namespace millrace::tools
