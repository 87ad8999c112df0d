#include "core/queue/side_files.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include "core/queue/checksum.h"
#include "core/queue/store.h"

namespace millrace::queue {
namespace {

Error system_error(const std::string& what) {
  const int error = errno;
  const bool full = error == ENOSPC || error == EDQUOT || error == EFBIG;
  return {full ? Errc::no_space : Errc::io, what + ": " + std::strerror(error)};
}

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

std::string bucket(const std::string& queue_id) {
  char name[3];
  std::snprintf(name, sizeof name, "%02X", crc32c(queue_id) & 0xffu);
  return name;
}

bool sync_directory(const std::string& path) {
  const Descriptor directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  return directory.get() >= 0 && ::fsync(directory.get()) == 0;
}

}  // namespace

Result<std::uint32_t> file_crc(int fd, std::uint32_t before, std::uint64_t& size) {
  constexpr std::size_t kPiece = 256 * 1024;
  const auto buffer = std::make_unique<char[]>(kPiece);
  std::uint32_t crc = before;
  for (size = 0;;) {
    const ssize_t got = ::pread(fd, buffer.get(), kPiece, static_cast<off_t>(size));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return tl::unexpected(system_error("read side file"));
    if (got == 0) return crc;
    crc = crc32c({buffer.get(), static_cast<std::size_t>(got)}, crc);
    size += static_cast<std::uint64_t>(got);
  }
}

SideFiles::~SideFiles() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
}

Result<void> SideFiles::open(const std::string& directory, bool sync) {
  directory_ = directory + "/side";
  sync_ = sync;
  if (::mkdir(directory_.c_str(), 0700) != 0 && errno != EEXIST) return tl::unexpected(system_error(directory_));
  for (unsigned i = 0; i < 256; ++i) {
    char name[4];
    std::snprintf(name, sizeof name, "/%02X", i);
    const std::string path = directory_ + name;
    if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return tl::unexpected(system_error(path));
  }
  const Descriptor probe(::open(directory_.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (probe.get() < 0) {
    return fail(Errc::config, directory_ + ": unnamed files cannot be made here (O_TMPFILE: " +
                                  std::strerror(errno) + "): use another file system for queue_directory");
  }
  if (sync_ && !(sync_directory(directory_) && sync_directory(directory))) {
    return tl::unexpected(system_error("sync " + directory_));
  }
  return {};
}

std::string SideFiles::path(const std::string& queue_id) const {
  return directory_ + "/" + bucket(queue_id) + "/" + queue_id;
}

Result<SideFiles::Adopted> SideFiles::adopt(int fd, const std::string& queue_id, std::uint32_t crc_before) const {
  struct stat status {};
  if (::fstat(fd, &status) != 0) return tl::unexpected(system_error("side file of " + queue_id));
  // A named file could be changed by name after it was checked.
  if (!S_ISREG(status.st_mode) || status.st_nlink != 0) {
    return fail(Errc::io, "side file of " + queue_id + ": not an unnamed file");
  }
  Adopted adopted;
  const Result<std::uint32_t> crc = file_crc(fd, crc_before, adopted.size);
  if (!crc) return tl::unexpected(crc.error());
  adopted.crc = *crc;
  if (sync_ && ::fdatasync(fd) != 0) return tl::unexpected(system_error("sync side file of " + queue_id));
  const std::string from = "/proc/self/fd/" + std::to_string(fd), to = path(queue_id);
  int linked = ::linkat(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), AT_SYMLINK_FOLLOW);
  if (linked != 0 && errno == EEXIST) {  // left by a message that was never committed: ids are not reused
    ::unlink(to.c_str());
    linked = ::linkat(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), AT_SYMLINK_FOLLOW);
  }
  if (linked != 0) return tl::unexpected(system_error("link " + to));
  if (sync_ && !sync_directory(directory_ + "/" + bucket(queue_id))) {
    const Error error = system_error("sync directory of " + to);
    ::unlink(to.c_str());
    return tl::unexpected(error);
  }
  return adopted;
}

Result<int> SideFiles::open_file(const std::string& queue_id) const {
  const std::string name = path(queue_id);
  const int fd = ::open(name.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0 && errno == ENOENT) return fail(Errc::not_found, name + ": no such file");
  if (fd < 0) return tl::unexpected(system_error(name));
  return fd;
}

void SideFiles::remove(const std::string& queue_id) {
  {
    const std::lock_guard lock(mutex_);
    doomed_.push_back(queue_id);
    if (!thread_.joinable()) thread_ = std::thread([this] { remover(); });
  }
  wake_.notify_one();
}

void SideFiles::remover() {
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [this] { return stopping_ || !doomed_.empty(); });
    if (doomed_.empty()) return;
    std::vector<std::string> ids;
    ids.swap(doomed_);
    lock.unlock();
    for (const std::string& id : ids) ::unlink(path(id).c_str());
    lock.lock();
  }
}

std::size_t SideFiles::sweep(const std::function<bool(const std::string&)>& known) const {
  std::size_t removed = 0;
  for (unsigned i = 0; i < 256; ++i) {
    char name[4];
    std::snprintf(name, sizeof name, "/%02X", i);
    const std::string path = directory_ + name;
    const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(path.c_str()), ::closedir);
    if (!directory) continue;
    while (const dirent* entry = ::readdir(directory.get())) {
      const std::string id = entry->d_name;
      if (!is_queue_id(id) || known(id)) continue;
      if (::unlinkat(::dirfd(directory.get()), id.c_str(), 0) == 0) ++removed;
    }
  }
  return removed;
}

}  // namespace millrace::queue
