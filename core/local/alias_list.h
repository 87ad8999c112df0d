// The right-hand side of an alias, a line of a .forward or an :include: file (aliases(5)).  Pure, bounded.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace millrace::local {

struct Destination {
  enum class Kind { address, command, file, include };
  Kind kind = Kind::address;
  // Address: internal form (unquoted), a leading backslash kept ("\user": no further expansion).  Else what
  // follows "|" or ":include:", or the path.
  std::string text;
};

constexpr std::size_t kMaxDestinations = 10000;   // of one text; the rest is dropped

// One logical line: destinations between commas, quotes and comments as in RFC 822.
std::vector<Destination> parse_destinations(std::string_view text);
// A file of such lines: "#" begins a comment line, white space continues nothing.
std::vector<Destination> parse_destination_file(std::string_view text);

// mailbox_command and "|command" without a shell: the words when the text has neither shell magic nor
// nothing; empty: only a shell understands it.
std::vector<std::string> plain_command(std::string_view command);

}  // namespace millrace::local
