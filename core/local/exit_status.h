// What the end of a command means for the mail (pipe(8), sysexits.h).  Pure.
#pragma once

#include <string>
#include <string_view>

#include "core/deliver/attempt.h"

namespace millrace::local {

struct CommandEnd {
  int wait_status = 0;
  bool timed_out = false;
  std::string output;    // as read, at most kMaxOutput bytes
  std::string command;   // for messages
};
constexpr std::size_t kMaxOutput = 4096;

// `success` is the text when the command was content ("delivered via x service"); output is put behind it.
deliver::Outcome command_outcome(const CommandEnd& end, const std::string& success);

// Output as it may stand in a log line: one line, nothing unprintable.
std::string shown_output(std::string_view output);

}  // namespace millrace::local
