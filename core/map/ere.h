// POSIX regular expressions, as glibc's regcomp(3) reads them in the C locale, translated for PCRE2.
//
// Promise: the translation matches where regexec(3) matches, with REG_NEWLINE (Flags::newline) and REG_ICASE
// too, GNU's operators (\w \< \b …) included; what regcomp refuses is refused with its words.  It does not
// make submatches leftmost-longest.  Linear time, no recursion.
#pragma once

#include <string>
#include <string_view>

#include "core/base/result.h"

namespace millrace::map {

struct PosixSyntax {
  bool extended = true;
  bool newline = false;
  bool ignore_case = false;
};

// To be compiled with kDollarEndOnly, kDotAll unless newline, kMultiline and kPosixCaret if newline, and
// kCaseless as told.  Errors: protocol.
Result<std::string> translate_posix(std::string_view pattern, const PosixSyntax& syntax);

}  // namespace millrace::map
