// Putting a message into a mailbox file or a maildir, with the rights of the process.  Blocking: for the
// master's children alone.
//
// Promise: a file is appended to under its lock, or left as long as it was; a message in a maildir appears in
// new/ only when it is whole and synced.  Nobody else's symbolic link is followed, no file with several names
// is written.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <sys/types.h>

#include "core/deliver/attempt.h"
#include "core/local/message_copy.h"

namespace millrace::local {

struct MailboxRules {
  bool use_fcntl = true, use_flock = false, use_dotlock = true;   // mailbox_delivery_lock
  int lock_attempts = 20;
  std::chrono::seconds lock_delay{1}, stale_lock{500};
  std::uint64_t size_limit = 0;       // of the file after delivery, of the message in a maildir; 0: none
  bool check_owner = true;            // strict_mailbox_ownership, for regular files
  uid_t owner = 0;                    // whose it must be
};

struct Placed {
  bool ok = false;
  std::string dsn, reason;   // when not
  std::uint64_t offset = 0;  // where in the file the message begins
};
// `message`: descriptor of the canonical text.  `options` without its blank line and quoting, which the
// form of the mailbox decides.
Placed append_to_file(const std::string& path, int message, CopyOptions options, const MailboxRules& rules);
// `directory` ends in "/"; it and its tmp, new and cur are made when they are not there.
Placed put_in_maildir(const std::string& directory, int message, CopyOptions options, const MailboxRules& rules,
                      const std::string& host);

// "fcntl, dotlock" and the like into `rules`; false for a word that is none.
bool parse_locks(std::string_view words, MailboxRules& rules);

// The message as `options` say, into `fd`, which may be a pipe or a file.  "" or what went wrong; errno is
// kept for the caller.
std::string copy_message(int message, int fd, const CopyOptions& options);

}  // namespace millrace::local
