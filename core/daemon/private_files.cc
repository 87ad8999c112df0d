// Files for plugins: see private_files.h.
#include "core/daemon/private_files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <glob.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "core/base/strings.h"

namespace millrace::daemon {
namespace {

using Files = std::map<std::string, std::string>;

constexpr std::size_t kMaxFiles = 1000, kMaxFile = 64 * 1024;

Result<std::string> read_one(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return fail(Errc::config, fmt::format("{}: {}", path, std::strerror(errno)));
  struct stat status {};
  std::string text;
  std::string wrong;
  if (::fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) wrong = "is no regular file";
  else if ((status.st_mode & 077) != 0) wrong = "others than its owner may read or write it: set its mode to 0600";
  else if (static_cast<std::size_t>(status.st_size) > kMaxFile) wrong = "is too large";
  if (wrong.empty()) {
    text.resize(kMaxFile + 1);
    const ssize_t n = ::read(fd, text.data(), text.size());
    if (n < 0 || static_cast<std::size_t>(n) > kMaxFile) wrong = "cannot be read";
    else text.resize(static_cast<std::size_t>(n));
  }
  ::close(fd);
  if (!wrong.empty()) return fail(Errc::config, fmt::format("{}: {}", path, wrong));
  return text;
}

}  // namespace

Result<std::shared_ptr<const Files>> read_private_files(const std::string& patterns) {
  const auto owned = std::shared_ptr<Files>(new Files, [](Files* files) {
    for (auto& [path, text] : *files) ::explicit_bzero(text.data(), text.size());
    delete files;
  });
  for (const std::string_view pattern : split(patterns, ", \t\r\n")) {
    if (!pattern.starts_with('/')) return fail(Errc::config, fmt::format("{}: no path from the root", pattern));
    glob_t found{};
    const int rc = ::glob(std::string(pattern).c_str(), GLOB_ERR, nullptr, &found);
    std::string problem = rc == 0 ? "" : fmt::format("{}: {}", pattern, rc == GLOB_NOMATCH ? "no such file" : "cannot be read");
    for (std::size_t i = 0; problem.empty() && i < found.gl_pathc; ++i) {
      auto text = read_one(found.gl_pathv[i]);
      if (!text) problem = text.error().context;
      else if (owned->size() >= kMaxFiles) problem = fmt::format("more than {} files", kMaxFiles);
      else owned->insert_or_assign(found.gl_pathv[i], std::move(*text));
    }
    ::globfree(&found);
    if (!problem.empty()) return fail(Errc::config, problem);
  }
  return std::shared_ptr<const Files>(owned);
}

}  // namespace millrace::daemon
