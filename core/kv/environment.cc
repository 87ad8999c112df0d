#include "core/kv/environment.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>

namespace millrace::kv {

namespace {
constexpr char kData[] = "state.mdb", kDataLock[] = "state.mdb-lock", kBoot[] = "boot";
constexpr unsigned kFlags = MDB_NOSUBDIR | MDB_NOTLS | MDB_NOSYNC | MDB_NORDAHEAD;

std::string read_small(const std::string& path) {
  std::array<char, 128> bytes{};
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return {};
  const ssize_t count = ::read(fd, bytes.data(), bytes.size());
  ::close(fd);
  return {bytes.data(), static_cast<std::size_t>(std::max<ssize_t>(count, 0))};
}

// This start of the machine.
std::string boot_id() { return read_small("/proc/sys/kernel/random/boot_id"); }

void write_small(const std::string& path, const std::string& text) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return;
  if (::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size())) (void)::fsync(fd);
  ::close(fd);
}

constexpr char kWhole[] = "whole\n";   // in the boot file: all was written out, any start may use it

unsigned long inode_of(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 ? static_cast<unsigned long>(status.st_ino) : 0;
}

Error system_error(const std::string& what) { return {Errc::io, what + ": " + std::strerror(errno)}; }

// Reads every entry; in a child, whose death harms nobody.
int walk(const std::string& path, std::size_t map_bytes) {
  MDB_env* env = nullptr;
  MDB_txn* txn = nullptr;
  MDB_cursor* cursor = nullptr;
  MDB_dbi dbi = 0;
  int code = ::mdb_env_create(&env);
  if (code == 0) code = ::mdb_env_set_mapsize(env, map_bytes);
  if (code == 0) code = ::mdb_env_open(env, path.c_str(), kFlags | MDB_RDONLY | MDB_NOLOCK, 0600);
  if (code == 0) code = ::mdb_txn_begin(env, nullptr, MDB_RDONLY, &txn);
  if (code == 0) code = ::mdb_dbi_open(txn, nullptr, 0, &dbi);
  if (code == 0) code = ::mdb_cursor_open(txn, dbi, &cursor);
  MDB_val key, value;
  unsigned sum = 0;
  while (code == 0) {
    code = ::mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    if (code != 0) break;
    const auto* bytes = static_cast<const volatile unsigned char*>(value.mv_data);
    if (value.mv_size > 0) sum += bytes[0] + bytes[value.mv_size - 1];
  }
  (void)sum;
  return code == MDB_NOTFOUND ? 0 : 1;
}
}  // namespace

Result<void> Environment::lock() {
  if (lock_fd_ < 0) lock_fd_ = ::open(file("lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (lock_fd_ < 0 || ::flock(lock_fd_, LOCK_EX) != 0) return tl::unexpected(system_error("lock " + file("lock")));
  return {};
}

void Environment::release() { (void)::flock(lock_fd_, LOCK_UN); }

bool Environment::is_sound() const {
  const pid_t child = ::fork();
  if (child < 0) return true;   // no proof, but no reason to throw anything away either
  if (child == 0) {
    (void)::prctl(PR_SET_DUMPABLE, 0);
    ::signal(SIGSEGV, SIG_DFL), ::signal(SIGBUS, SIG_DFL), ::signal(SIGABRT, SIG_DFL);
    (void)::alarm(20);
    ::_exit(walk(file(kData), map_bytes_));
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

// Written by a kernel that still runs, or written out at the end of one.
bool Environment::survived_restart() const {
  const std::string mark = read_small(file(kBoot));
  return mark == kWhole || mark == boot_id();
}

void Environment::discard() {
  (void)::unlink(file(kData).c_str());
  (void)::unlink(file(kDataLock).c_str());
}

int Environment::open_file() {
  int code = ::mdb_env_create(&env_);
  if (code == 0) code = ::mdb_env_set_mapsize(env_, map_bytes_);
  if (code == 0) code = ::mdb_env_set_maxreaders(env_, 512);
  if (code == 0) code = ::mdb_env_open(env_, file(kData).c_str(), kFlags, 0600);
  MDB_txn* txn = nullptr;
  int dead = 0;
  if (code == 0) code = ::mdb_reader_check(env_, &dead);
  if (code == 0) code = ::mdb_txn_begin(env_, nullptr, 0, &txn);
  if (code == 0) {
    code = ::mdb_dbi_open(txn, nullptr, 0, &dbi_);
    if (code == 0) {
      code = ::mdb_txn_commit(txn);
    } else {
      ::mdb_txn_abort(txn);
    }
  }
  if (code == 0) inode_ = inode_of(file(kData));
  if (code != 0) close_file();
  return code;
}

void Environment::close_file() {
  if (env_ != nullptr) ::mdb_env_close(env_);
  env_ = nullptr;
}

Result<void> Environment::open() {
  if (::mkdir(directory_.c_str(), 0700) != 0 && errno != EEXIST) return tl::unexpected(system_error("make " + directory_));
  if (auto locked = lock(); !locked) return locked;
  users_fd_ = ::open(file("users").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  const bool alone = users_fd_ >= 0 && ::flock(users_fd_, LOCK_EX | LOCK_NB) == 0;
  if (alone && inode_of(file(kData)) != 0 && (!survived_restart() || !is_sound())) {
    log_.warning(directory_ + ": the state is damaged or was not written out: starting anew");
    discard();
  }
  write_small(file(kBoot), boot_id());
  int code = open_file();
  if (code != 0 && alone) {
    log_.warning(directory_ + ": " + ::mdb_strerror(code) + ": starting anew");
    discard();
    code = open_file();
  }
  if (users_fd_ >= 0) (void)::flock(users_fd_, LOCK_SH);
  release();
  if (code != 0) return fail(Errc::io, "open " + file(kData) + ": " + ::mdb_strerror(code));
  return {};
}

void Environment::close() {
  if (env_ == nullptr) return;
  const bool written = ::mdb_env_sync(env_, 1) == 0;
  close_file();
  if (lock()) {
    const bool alone = users_fd_ >= 0 && ::flock(users_fd_, LOCK_EX | LOCK_NB) == 0;
    if (alone && written) write_small(file(kBoot), kWhole);
    release();
  }
  if (users_fd_ >= 0) ::close(users_fd_);
  if (lock_fd_ >= 0) ::close(lock_fd_);
  users_fd_ = lock_fd_ = -1;
}

bool Environment::is_replaced() const { return inode_of(file(kData)) != inode_; }

Result<void> Environment::start_anew(const char* why) {
  if (auto locked = lock(); !locked) return locked;
  if (!is_replaced()) {
    log_.warning(directory_ + ": " + why + ": starting anew");
    discard();
  }
  close_file();
  const int code = open_file();
  release();
  if (code != 0) return fail(Errc::io, "open " + file(kData) + ": " + ::mdb_strerror(code));
  return {};
}

}  // namespace millrace::kv
