#include "core/map/system.h"

#include <grp.h>
#include <pwd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "core/base/random.h"
#include "core/base/strings.h"
#include "core/map/remote.h"
#include "core/net/fiber.h"

namespace millrace::map {

namespace {

constexpr std::size_t kMaxEntry = 1024 * 1024;   // a group of ten thousand members is well below

// As getpwnam(3) lists them: not there, in one way or another.
bool means_absent(int error) {
  return error == 0 || error == ENOENT || error == ESRCH || error == EBADF || error == EPERM;
}

std::string line_of(const passwd& entry) {
  std::string out = entry.pw_name;
  out.append(":").append(entry.pw_passwd).append(":").append(std::to_string(entry.pw_uid));
  out.append(":").append(std::to_string(entry.pw_gid)).append(":").append(entry.pw_gecos);
  return out.append(":").append(entry.pw_dir).append(":").append(entry.pw_shell);
}

std::string line_of(const group& entry) {
  std::string out = entry.gr_name;
  out.append(":").append(entry.gr_passwd).append(":").append(std::to_string(entry.gr_gid)).append(":");
  for (char** member = entry.gr_mem; *member != nullptr; ++member) {
    if (member != entry.gr_mem) out += ',';
    out += *member;
  }
  return out;
}

// Asks getpwnam_r or getgrnam_r, with a buffer that grows while it is too small.
template <typename Entry, typename Call>
Lookup ask(const std::string& name, const std::string& key, Call&& call) {
  for (std::size_t size = 4096;; size *= 4) {
    std::string buffer(size, '\0');
    Entry entry{};
    Entry* found = nullptr;
    const int error = call(key.c_str(), &entry, buffer.data(), buffer.size(), &found);
    if (found != nullptr) return std::optional<std::string>(line_of(entry));
    if (error == ERANGE && size < kMaxEntry) continue;
    if (means_absent(error)) return std::optional<std::string>();
    return fail(Errc::temporary, name + ": query error: " + std::strerror(error));
  }
}

}  // namespace

Lookup UnixTable::find(std::string_view given) {
  const std::string key = lower(given);
  if (key.find('\0') != key.npos) return std::optional<std::string>();
  const auto work = [&]() -> Lookup {
    return which_ == Which::passwd ? ask<passwd>(name(), key, ::getpwnam_r) : ask<group>(name(), key, ::getgrnam_r);
  };
  if (net::Loop::current_or_null() == nullptr) return work();
  return where_waiting_is_allowed(name(), [&] { return net::offload(work); });
}

Lookup EnvironTable::find(std::string_view key) {
  const char* value = std::getenv(lower(key).c_str());
  return value != nullptr ? std::optional<std::string>(value) : std::nullopt;
}

Lookup RandomTable::find(std::string_view) { return std::optional<std::string>(values_[random_below(values_.size())]); }

}  // namespace millrace::map
