// One compiled pattern, run by PCRE2 with its JIT.
//
// Promise: bounded time and memory whatever the subject; a match that hits a limit says so.  Match data
// and the JIT stack (never the caller's, which may be a fiber's) belong to the thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/result.h"

namespace millrace::map {

class Regex {
 public:
  static constexpr std::size_t kMaxGroups = 99;
  // Backtracking steps of one match; a few hundredths of a second.
  static constexpr std::uint32_t kMatchLimit = 1'000'000;

  enum Option : unsigned {
    kCaseless = 1, kMultiline = 2, kDotAll = 4, kExtended = 8, kAnchored = 16, kDollarEndOnly = 32,
    kUngreedy = 64, kPosixCaret = 128  // ^ also after a newline that ends the subject
  };
  // Errors: protocol, with PCRE2's text and the offset.
  static Result<Regex> compile(const std::string& pattern, unsigned options);

  enum class Outcome { no, yes, limit };
  // `groups` (if any) receives begin and end of the whole match and each group; npos when unset.
  Outcome match(std::string_view subject, std::vector<std::pair<std::size_t, std::size_t>>* groups) const;
  unsigned group_count() const { return groups_; }
  // See literal_prefix(); in lower case when caseless.
  const std::string& prefix() const { return prefix_; }
  // See required_literals().
  const std::vector<std::string>& literals() const { return literals_; }

 private:
  struct Free { void operator()(void* code) const; };
  std::shared_ptr<void> code_;
  unsigned groups_ = 0;
  // What each match begins with, in lower case when caseless: most rules of a header table are told
  // apart by it without a call of the engine.
  std::string prefix_;
  std::vector<std::string> literals_;
  bool caseless_ = false;
};

}  // namespace millrace::map
