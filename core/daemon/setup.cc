#include "core/base/strings.h"
#include "core/daemon/setup.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "core/base/assert.h"
#include "core/queue/paths.h"
#include "core/submit/pickup.h"

namespace millrace::daemon {

std::string shared_block_path(const std::string& queue_directory) { return queue_directory + "/pid/shared"; }

const SharedBlock* view_shared_block(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) return nullptr;
  struct stat status {};
  void* memory = MAP_FAILED;
  if (::fstat(fd, &status) == 0 && status.st_size == static_cast<off_t>(sizeof(SharedBlock))) {
    memory = ::mmap(nullptr, sizeof(SharedBlock), PROT_READ, MAP_SHARED, fd, 0);
  }
  ::close(fd);
  return memory == MAP_FAILED ? nullptr : static_cast<const SharedBlock*>(memory);
}

SharedBlock* map_shared_block(const std::string& path) {
  int fd = -1;
  if (!path.empty()) {
    ::unlink(path.c_str());   // what children of a killed master still use is not written over
    fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd >= 0 && ::ftruncate(fd, static_cast<off_t>(sizeof(SharedBlock))) != 0) {
      ::close(fd);
      fd = -1;
    }
  }
  void* memory = ::mmap(nullptr, sizeof(SharedBlock), PROT_READ | PROT_WRITE, fd < 0 ? MAP_SHARED | MAP_ANONYMOUS : MAP_SHARED, fd, 0);
  if (fd >= 0) ::close(fd);
  MR_ASSERT(memory != MAP_FAILED);
  return new (memory) SharedBlock();
}

unsigned anvil_process(unsigned generation, int slot) {
  return (generation % 2) * kMaxFronts + static_cast<unsigned>(slot);
}

std::string trace_directory(const config::Config& config) { return config.params().queue_directory + "/trace"; }

log::Logger logger_for(const config::Config& config, std::string_view program, const config::Service* service) {
  const std::string name = config.value("syslog_name", service).value_or("postfix");
  return log::Logger(fmt::format("{}/{}", name, program));
}

// A typing mistake must not have a log written over something else.
static bool may_be_log(std::string_view path, std::string_view prefixes) {
  for (const std::string_view prefix : split(prefixes, ", \t\r\n")) {
    if (!path.starts_with(prefix)) continue;
    if (path.size() == prefix.size() || path[prefix.size()] == '/' || prefix.ends_with('/')) return true;
  }
  return false;
}

Result<log::Options> open_log(const config::Config& config, bool foreground) {
  log::Options options;
  options.threaded = false;
  const std::string& path = config.params().maillog_file;
  if (!path.empty()) {
    if (!may_be_log(path, config.params().maillog_file_prefixes)) {
      return fail(Errc::config, fmt::format("maillog_file: {} does not begin with any of maillog_file_prefixes ({})", path,
                                            config.params().maillog_file_prefixes));
    }
    const int fd = ::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0) return fail(Errc::config, fmt::format("maillog_file: {}: {}", path, std::strerror(errno)));
    options.facility = log::Facility::file;
    options.fd = fd;
    options.host = config.params().myhostname.substr(0, config.params().myhostname.find('.'));
  } else if (foreground && ::access("/dev/log", F_OK) != 0) {
    options.facility = log::Facility::standard_error;
  } else {
    options.facility = log::Facility::syslog;
  }
  return options;
}

void report_error(config::Findings& findings, const config::Config& config, const std::string& topic,
                  const Error& error) {
  const std::string& text = error.context;
  const std::size_t end = text.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_");
  if (end != std::string::npos && end != 0 && text.compare(end, 2, ": ") == 0) {
    const std::string parameter = text.substr(0, end);
    if (config.value(parameter)) return findings.error(config.where(parameter), parameter, text.substr(end + 2));
  }
  findings.error({}, topic, text);
}

Result<void> make_directories(const config::Config& config, const Owner& owner) {
  const std::string& queue = config.params().queue_directory;
  const bool is_root = ::geteuid() == 0;
  const auto make = [&](const std::string& path, mode_t mode, bool owned) -> Result<void> {
    if (::mkdir(path.c_str(), mode) != 0 && errno != EEXIST) {
      return fail(Errc::config, fmt::format("mkdir {}: {}", path, std::strerror(errno)));
    }
    if (is_root && owned && (::chown(path.c_str(), owner.uid, owner.gid) != 0 || ::chmod(path.c_str(), mode) != 0)) {
      return fail(Errc::config, fmt::format("chown {}: {}", path, std::strerror(errno)));
    }
    return {};
  };
  struct Directory {
    std::string path;
    mode_t mode;
    bool owned;
    bool dropped_into = false;
  };
  const Directory wanted[] = {
      {queue, 0755, false},
      {queue + "/pid", 0755, false},
      {queue + "/private", 0700, true},
      {queue + "/public", 0755, true},
      {queue::store_directory(queue), 0700, true},
      {trace_directory(config), 0700, true},
      {config.params().data_directory, 0755, true},
      // Members of setgid_group may put files there, but neither list them nor touch those of others.
      {submit::maildrop_directory(queue), 01730, true, true},
  };
  const auto drop_group = find_drop_group(config, owner);
  if (!drop_group) return tl::unexpected(drop_group.error());
  for (const Directory& directory : wanted) {
    if (auto made = make(directory.path, directory.mode, directory.owned); !made) return made;
    if (is_root && directory.dropped_into &&
        (::chown(directory.path.c_str(), owner.uid, *drop_group) != 0 || ::chmod(directory.path.c_str(), directory.mode) != 0)) {
      return fail(Errc::config, fmt::format("chown {}: {}", directory.path, std::strerror(errno)));
    }
  }
  return {};
}

}  // namespace millrace::daemon
