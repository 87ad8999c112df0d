// authorized_submit_users and its kin: lists of login names.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>

#include "core/base/result.h"
#include "core/map/table.h"

namespace millrace::submit {

class UserList {
 public:
  UserList() = default;   // everybody
  // Errors: config.
  static Result<UserList> make(map::TableSet& tables, std::string_view value);
  // "" when the user is on the list, else who it is: "nobody(65534)".  A user without an entry in the password
  // file is "unknown".  Errors: temporary.  [fiber, or blocks]
  Result<std::string> outsider(uid_t user) const;

 private:
  bool everybody_ = true;
  map::MatchList list_;
};

}  // namespace millrace::submit
