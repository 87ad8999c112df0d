#include "core/submit/users.h"

#include <pwd.h>

#include "core/base/strings.h"
#include "core/net/fiber.h"

namespace millrace::submit {
namespace {

std::string name_of(uid_t user) {
  char buffer[16384];
  passwd entry{}, *found = nullptr;
  return ::getpwuid_r(user, &entry, buffer, sizeof buffer, &found) == 0 && found != nullptr ? entry.pw_name : "unknown";
}

}  // namespace

Result<UserList> UserList::make(map::TableSet& tables, std::string_view value) {
  UserList out;
  out.everybody_ = trim(value) == "static:anyone";
  auto list = map::MatchList::open(tables, value, map::MatchList::Kind::string, false);
  if (!list) return tl::unexpected(list.error());
  out.list_ = std::move(*list);
  return out;
}

Result<std::string> UserList::outsider(uid_t user) const {
  if (everybody_) return std::string();
  const std::string name = net::in_fiber() ? net::offload([user] { return name_of(user); }) : name_of(user);
  const Result<bool> listed = list_.matches(name);
  if (!listed) return tl::unexpected(listed.error());
  return *listed ? std::string() : name + "(" + std::to_string(user) + ")";
}

}  // namespace millrace::submit
