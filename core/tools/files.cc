#include "core/tools/files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace millrace::tools {
namespace {

bool failed(std::string& problem, const char* what, const std::string& path) {
  problem = fmt::format("{} {}: {}", what, path, std::strerror(errno));
  return false;
}

bool write_all(int fd, const std::string& text) {
  for (std::size_t done = 0; done < text.size();) {
    const ssize_t n = ::write(fd, text.data() + done, text.size() - done);
    if (n < 0 && errno != EINTR) return false;
    if (n > 0) done += static_cast<std::size_t>(n);
  }
  return ::fsync(fd) == 0;
}

}  // namespace

bool read_whole(const std::string& path, std::string& text, std::string& problem) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return failed(problem, "open", path);
  text.clear();
  char buffer[65536];
  ssize_t n = 0;
  while ((n = ::read(fd, buffer, sizeof buffer)) != 0) {
    if (n > 0) text.append(buffer, static_cast<std::size_t>(n));
    if (n < 0 && errno != EINTR) break;
  }
  const int error = errno;
  ::close(fd);
  errno = error;
  return n == 0 ? true : failed(problem, "read", path);
}

bool replace_whole(const std::string& path, const std::string& text, std::string& problem) {
  const std::string temporary = path + ".tmp";
  struct stat old {};
  if (::stat(path.c_str(), &old) != 0) return failed(problem, "stat", path);
  const int fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd < 0) return failed(problem, "open", temporary);
  // Only root can keep a foreign owner; for others the file is their own already.
  const bool is_kept = (::geteuid() != 0 || ::fchown(fd, old.st_uid, old.st_gid) == 0) && ::fchmod(fd, old.st_mode & 07777) == 0;
  if (!is_kept || !write_all(fd, text) || ::rename(temporary.c_str(), path.c_str()) != 0) {
    failed(problem, "write", temporary);
    ::close(fd);
    ::unlink(temporary.c_str());
    return false;
  }
  ::close(fd);
  return true;
}

}  // namespace millrace::tools
