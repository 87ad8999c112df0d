// The command attributes of a pipe or spawn service in master.cf (pipe(8), spawn(8)).  Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"

namespace millrace::local {

// flags=BDFORXhqu.> as a bit set.
enum PipeFlag : unsigned {
  kBlankLine = 1, kDeliveredTo = 2, kFromLine = 4, kOriginalTo = 8, kReturnPath = 16, kFinal = 32,
  kFoldHost = 64, kQuoteLocal = 128, kFoldUser = 256, kDotStuff = 512, kQuoteFrom = 1024,
};

struct CommandSpec {
  std::string user, group;          // group "" : the user's
  std::string chroot, directory;    // "": none, queue_directory
  std::string eol = "\n";
  std::string null_sender = "MAILER-DAEMON";
  unsigned flags = 0;
  std::uint64_t size_limit = 0;     // 0: none
  std::vector<std::string> argv;    // with its macros; one word at least
};

enum class SpecKind { pipe, spawn };
// `arguments` of the service.  Errors: config, with the word that is wrong or missing.
Result<CommandSpec> parse_command_spec(const std::vector<std::string>& arguments, SpecKind kind);

// C escapes: \a \b \f \n \r \t \v \\ and up to three octal digits.
std::string unescape(std::string_view text);

}  // namespace millrace::local
