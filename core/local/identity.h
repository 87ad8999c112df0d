// Whose rights a foreign command or a mailbox delivery has, and taking them.
//
// Promise: take_identity() gives up root for good or fails; user id 0 is never taken.  What writes root's own mailbox
// keeps the user id, because the file is root's, and none of root's powers.
#pragma once

#include <sys/types.h>

#include <string>

#include "core/base/result.h"

namespace millrace::local {

struct Identity {
  uid_t uid = 0;
  gid_t gid = 0;
  std::string name, home, shell;
};

// Of an account by name; `group` "" is the account's own.  Errors: not_found (no such account or group).
Result<Identity> find_identity(const std::string& user, const std::string& group = "");
Result<Identity> find_identity(uid_t uid);

// For good, in a child.  No supplementary groups, as Postfix.  Without root only the own user can be taken.
// Errors: refused (user id 0, or not root and somebody else), io.
Result<void> take_identity(const Identity& identity);

// For good, in a child: the owner of root's files and nothing more, with no capability and no way to get one back.
// Errors: refused (not root), io.
Result<void> take_ownership(gid_t gid);

}  // namespace millrace::local
