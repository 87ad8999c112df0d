// A message of Postfix's queue, as its file has it: what `millrace queue import` reads.
//
// Promise: pure and bounded; a file that is cut short, loops or lies is an error, never half a message.  The file
// is followed as delivery agents follow it: edits that milters and cleanup left as pointers are obeyed, padding is
// skipped.  Recipients that are done are left out.
#pragma once

#include <functional>
#include <set>
#include <string>
#include <string_view>

#include "core/base/result.h"
#include "core/mime/envelope.h"

namespace millrace::submit {

struct QueueFile {
  mime::Envelope envelope;   // without queue_id; recipients are those still to be delivered
  bool delay_warned = false;
};

// `unreported`: recipients that are done because they failed, which the sender was not told yet (see
// failed_recipients); they are kept, so that they fail again.  Content goes to `content`, canonical, in pieces.
// Errors: protocol, too_large (recipients), and those of `content`.
Result<QueueFile> read_queue_file(std::string_view file, const std::set<std::string>& unreported, std::size_t recipient_limit,
                                  const std::function<Result<void>(std::string_view)>& content);

// The recipients in a file of Postfix's bounce directory ("recipient=a@b" lines).
std::set<std::string> failed_recipients(std::string_view bounce_log);

}  // namespace millrace::submit
