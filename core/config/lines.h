// Logical lines, as main.cf, master.cf and Postfix's table files share them: a line that begins with
// white space continues the one before; empty lines and lines whose first non-blank byte is '#' are
// skipped, also between a line and its continuation.  No newline is kept, the white space at the start of
// a continuation is.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace millrace::config {

struct LogicalLine {
  int number = 0;    // of its first physical line, from 1
  std::string text;
  bool continues_nothing = false;   // begins with white space, with nothing before it to continue
};

std::vector<LogicalLine> logical_lines(std::string_view text);

}  // namespace millrace::config
