#include "core/local/mailbox.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ctime>

#include "core/base/strings.h"
#include "core/local/task_files.h"

namespace millrace::local {
namespace {

std::string text_of(int error) { return std::strerror(error); }

// mbox_dsn(3): which errors are the moment's, which the system's, which the recipient's.
std::string dsn_of(int error, const char* otherwise) {
  switch (error) {
    case EAGAIN:
    case ESTALE: return "4.2.0";
    case EDQUOT:
    case EFBIG: return "5.2.2";
    case ENOSPC: return "4.2.2";
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case EIO:
    case EROFS: return "4.3.0";
    default: return otherwise;
  }
}

Placed failed(std::string dsn, std::string reason) { return {false, std::move(dsn), std::move(reason), 0}; }

void pause(std::chrono::seconds span) {
  timespec time{static_cast<time_t>(span.count()), 0};
  while (::nanosleep(&time, &time) != 0 && errno == EINTR) {
  }
}

// "FILE.lock", as other mail programs use it.
class DotLock {
 public:
  ~DotLock() {
    if (!path_.empty()) ::unlink(path_.c_str());
  }
  // 0 or an errno; EAGAIN: somebody holds it.
  int take(const std::string& file, const MailboxRules& rules) {
    const std::string path = file + ".lock";
    for (int i = 0; i < rules.lock_attempts; ++i) {
      const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
      if (fd >= 0) {
        ::close(fd);
        path_ = path;
        return 0;
      }
      if (errno != EEXIST) return errno;
      struct stat info{};
      if (::lstat(path.c_str(), &info) == 0 && ::time(nullptr) - info.st_ctime > rules.stale_lock.count()) {
        ::unlink(path.c_str());
        continue;
      }
      if (i + 1 < rules.lock_attempts) pause(rules.lock_delay);
    }
    return EAGAIN;
  }

 private:
  std::string path_;
};

bool lock_file(int fd, const MailboxRules& rules) {
  for (int i = 0; i < rules.lock_attempts; ++i) {
    struct flock lock{};
    lock.l_type = F_WRLCK;
    const bool first = !rules.use_fcntl || ::fcntl(fd, F_SETLK, &lock) == 0;
    const bool second = first && (!rules.use_flock || ::flock(fd, LOCK_EX | LOCK_NB) == 0);
    if (second) return true;
    if (i + 1 < rules.lock_attempts) pause(rules.lock_delay);
  }
  return false;
}

// safe_open(3): an existing file that is what its name says, or a new one.  -1 with a reason.
int open_safely(const std::string& path, bool& is_regular, Placed& why, struct stat& info) {
  int fd = ::open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (fd < 0 && errno == ENOENT) {
    fd = ::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    // It came into being meanwhile, or is a link to nowhere.
    if (fd < 0 && errno == EEXIST) fd = ::open(path.c_str(), O_WRONLY | O_APPEND | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  }
  if (fd < 0) {
    const int error = errno;
    why = failed(dsn_of(error, "5.2.0"), (error == ENOENT || error == ENOTDIR ? "cannot create file exclusively: " : "cannot open file: ") + text_of(error));
    return -1;
  }
  struct stat name{};
  const auto bad = [&](std::string reason) {
    why = failed("5.2.0", std::move(reason));
    ::close(fd);
    return -1;
  };
  if (::fstat(fd, &info) != 0) return bad("cannot check file: " + text_of(errno));
  if (S_ISDIR(info.st_mode)) return bad("file is a directory");
  if (info.st_nlink != 1) return bad(fmt::format("file has {} hard links", info.st_nlink));
  if (::lstat(path.c_str(), &name) != 0) return bad("file status changed unexpectedly: " + text_of(errno));
  if (S_ISLNK(name.st_mode)) {
    if (name.st_uid != 0) return bad("file is a symbolic link");
  } else if (name.st_dev != info.st_dev || name.st_ino != info.st_ino) {
    return bad("file status changed unexpectedly");
  }
  is_regular = S_ISREG(info.st_mode);
  ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) & ~O_NONBLOCK);
  return fd;
}

// Writes all, counting against a limit.
class Sink {
 public:
  Sink(int fd, std::uint64_t room) : fd_(fd), room_(room) {}
  bool write(std::string_view bytes) {
    if (bytes.size() > room_) {
      errno = EFBIG;
      return false;
    }
    room_ -= bytes.size();
    while (!bytes.empty()) {
      const ssize_t n = ::write(fd_, bytes.data(), bytes.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
    return true;
  }

 private:
  int fd_;
  std::uint64_t room_;
};

std::string copy_bounded(int message, int fd, const CopyOptions& options, std::uint64_t room) {
  Sink sink(fd, room);
  MessageCopy copy(options);
  std::string out, piece(64 * 1024, '\0');
  copy.begin(out);
  for (off_t at = 0;;) {
    const ssize_t n = ::pread(message, piece.data(), piece.size(), at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return "error reading message: " + text_of(errno);
    if (n == 0) break;
    at += n;
    copy.feed(std::string_view(piece).substr(0, static_cast<std::size_t>(n)), out);
    if (!sink.write(out)) return "error writing message: " + text_of(errno);
    out.clear();
  }
  copy.finish(out);
  return sink.write(out) ? "" : "error writing message: " + text_of(errno);
}

}  // namespace

std::string copy_message(int message, int fd, const CopyOptions& options) {
  return copy_bounded(message, fd, options, UINT64_MAX);
}

bool parse_locks(std::string_view words, MailboxRules& rules) {
  rules.use_fcntl = rules.use_flock = rules.use_dotlock = false;
  for (const std::string_view word : split(words, ", \t\r\n")) {
    if (iequals(word, "fcntl")) rules.use_fcntl = true;
    else if (iequals(word, "flock")) rules.use_flock = true;
    else if (iequals(word, "dotlock")) rules.use_dotlock = true;
    else return false;
  }
  return true;
}

Placed append_to_file(const std::string& path, int message, CopyOptions options, const MailboxRules& rules) {
  options.from_line = options.quote_from = options.blank_line = true;
  Placed why;
  bool is_regular = false;
  struct stat info{};
  File file(open_safely(path, is_regular, why, info));
  if (file.get() < 0) return why;
  if (is_regular && rules.check_owner && info.st_uid != rules.owner) {
    return failed("4.2.0", fmt::format("destination {} is not owned by recipient", path));
  }
  DotLock dot;
  if (is_regular) {
    if (rules.use_dotlock) {
      // A directory that we may not write into has no dot locks: Postfix goes on without, too.
      const int error = dot.take(path, rules);
      if (error == EAGAIN) return failed("4.2.0", fmt::format("unable to create lock file {}.lock: File exists", path));
      if (error != 0 && error != EACCES && error != EPERM && error != EROFS) {
        return failed(dsn_of(error, "4.2.0"), fmt::format("unable to create lock file {}.lock: {}", path, text_of(error)));
      }
    }
    if (!lock_file(file.get(), rules)) return failed("4.2.0", fmt::format("unable to lock for exclusive access: {}", text_of(EAGAIN)));
    if (::fstat(file.get(), &info) != 0) return failed("4.3.0", "cannot check file: " + text_of(errno));
  }
  const auto size = static_cast<std::uint64_t>(is_regular ? info.st_size : 0);
  const std::uint64_t room = !is_regular || rules.size_limit == 0 ? UINT64_MAX
                             : rules.size_limit > size            ? rules.size_limit - size
                                                                  : 0;
  std::string problem = copy_bounded(message, file.get(), options, room);
  int error = errno;
  if (problem.empty() && is_regular && ::fsync(file.get()) != 0) {
    error = errno;
    problem = "error writing message: " + text_of(error);
  }
  if (problem.empty()) return {true, {}, {}, size};
  if (is_regular && ::ftruncate(file.get(), static_cast<off_t>(size)) != 0) {
    problem += "; and it could not be made as short as it was: " + text_of(errno);
  }
  return failed(dsn_of(error, "5.2.0"), problem);
}

Placed put_in_maildir(const std::string& directory, int message, CopyOptions options, const MailboxRules& rules,
                      const std::string& host) {
  const std::string tmp = directory + "tmp", fresh = directory + "new", cur = directory + "cur";
  timeval now{};
  ::gettimeofday(&now, nullptr);
  static unsigned counter = 0;
  const std::string unique = fmt::format("{}.P{}Q{}M{}.{}", now.tv_sec, ::getpid(), ++counter, now.tv_usec, host);
  const std::string path = tmp + "/" + unique;
  const auto make = [&] { return ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600); };
  int fd = make();
  if (fd < 0 && errno == ENOENT) {
    // Its parents too, as make_dirs(3).
    for (std::size_t at = 1; (at = tmp.find('/', at)) != tmp.npos; ++at) ::mkdir(tmp.substr(0, at).c_str(), 0700);
    for (const std::string& name : {tmp, fresh, cur}) ::mkdir(name.c_str(), 0700);
    fd = make();
  }
  if (fd < 0) {
    const int error = errno;
    return failed(dsn_of(error, error == ENOENT || error == ENOTDIR ? "5.2.0" : "4.2.0"), fmt::format("create maildir file {}: {}", path, text_of(error)));
  }
  File file(fd);
  const auto undo = [&](const std::string& text, int error) {
    ::unlink(path.c_str());
    return failed(dsn_of(error, "4.2.0"), text);
  };
  struct stat info{};
  if (rules.check_owner && ::fstat(fd, &info) == 0 && info.st_uid != rules.owner) {
    return undo(fmt::format("maildir file {} is not owned by recipient", path), EACCES);
  }
  const std::string problem = copy_bounded(message, fd, options, rules.size_limit == 0 ? UINT64_MAX : rules.size_limit);
  if (!problem.empty()) return undo(problem, errno);
  if (::fsync(fd) != 0 || ::fstat(fd, &info) != 0) return undo("error writing message: " + text_of(errno), errno);
  // Device and inode tell two deliveries of one microsecond apart on a shared file system.
  const std::string final_name = fmt::format("{}/{}.V{:x}I{:x}M{}.{}", fresh, now.tv_sec, info.st_dev, info.st_ino, now.tv_usec, host);
  if (::link(path.c_str(), final_name.c_str()) != 0) {
    const int error = errno;
    if (error == ENOENT && ::mkdir(fresh.c_str(), 0700) == 0 && ::link(path.c_str(), final_name.c_str()) == 0) {
      ::mkdir(cur.c_str(), 0700);
    } else {
      return undo(fmt::format("link {} to {}: {}", path, final_name, text_of(error)), error);
    }
  }
  ::unlink(path.c_str());
  File shelf(::open(fresh.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (shelf.get() >= 0) ::fsync(shelf.get());
  return {true, {}, {}, 0};
}

}  // namespace millrace::local
