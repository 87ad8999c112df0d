#include "core/daemon/check_files.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <optional>

#include "core/daemon/setup.h"
#include "core/queue/paths.h"
#include "core/submit/pickup.h"

namespace millrace::daemon {
namespace {

struct Rule {
  std::string path;
  std::optional<uid_t> owner;
  std::string owner_name;
  std::optional<gid_t> group;
  mode_t forbidden = 022;   // bits that must not be there
  bool needed = true;       // once a mail system has run here
};

}  // namespace

std::vector<std::string> check_files(const config::Config& config, const Owner& owner) {
  std::vector<std::string> out;
  const auto& params = config.params();
  const std::string& queue = params.queue_directory;
  const bool is_root = ::geteuid() == 0;
  const std::optional<uid_t> root = is_root ? std::optional<uid_t>(0) : std::nullopt;
  const auto drop_group = find_drop_group(config, owner);
  if (!drop_group) out.push_back(drop_group.error().context);
  const std::string drop = submit::maildrop_directory(queue);
  const Rule rules[] = {
      {config.directory(), root, "root", {}, 022, true},
      {config.directory() + "/main.cf", root, "root", {}, 022, true},
      {config.directory() + "/master.cf", root, "root", {}, 022, true},
      {queue, {}, "root", {}, 022, false},
      {queue + "/pid", root, "root", {}, 022, true},
      {queue + "/private", owner.uid, owner.name, {}, 077, true},
      {queue + "/public", owner.uid, owner.name, {}, 022, true},
      {queue::store_directory(queue), owner.uid, owner.name, {}, 077, true},
      {trace_directory(config), owner.uid, owner.name, {}, 077, true},
      {drop, owner.uid, owner.name, is_root && drop_group ? std::optional<gid_t>(*drop_group) : std::nullopt, 007, true},
      {params.data_directory, owner.uid, owner.name, {}, 022, true},
  };
  const bool has_run = ::access((queue + "/pid/master.pid").c_str(), F_OK) == 0 &&
                       ::access(queue::store_directory(queue).c_str(), F_OK) == 0;
  for (const Rule& rule : rules) {
    struct stat status {};
    if (::stat(rule.path.c_str(), &status) != 0) {
      if (has_run && rule.needed) out.push_back("missing: " + rule.path);
      continue;
    }
    if (rule.owner && status.st_uid != *rule.owner) out.push_back(fmt::format("not owned by {}: {}", rule.owner_name, rule.path));
    if (rule.group && status.st_gid != *rule.group) out.push_back(fmt::format("not owned by group {}: {}", params.setgid_group, rule.path));
    if ((status.st_mode & rule.forbidden) != 0) {
      out.push_back(fmt::format("{}: {}", (rule.forbidden & 044) != 0 || rule.path == drop ? "accessible to others" : "group or other writable", rule.path));
    }
  }
  return out;
}

}  // namespace millrace::daemon
