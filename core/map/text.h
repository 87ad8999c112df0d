// The text forms that tables share: logical lines, "key value" lines, { } groups, quoted addresses.
// Pure functions over bytes; linear time, no recursion.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"

namespace millrace::map {

// Cuts text into logical lines (postconf(5), "main.cf"): a line that begins with white space continues the one
// before; empty lines and comments are left out, also between continuations.  Text stops at a NUL byte
// within a line.
class LineReader {
 public:
  explicit LineReader(std::string_view text) : text_(text) {}
  bool next();
  const std::string& line() const { return line_; }
  int number() const { return first_; }     // physical line where it begins, from 1

 private:
  std::string_view physical();              // without its LF
  std::string_view text_;
  std::string line_;
  int count_ = 0, first_ = 0;
};

// One line of a postmap(1) source.  Errors: text of what is wrong with it.
struct KeyValue {
  std::string_view key, value;   // views of the line
  bool looks_like_alias = false; // the key ends in a colon
};
Result<KeyValue> split_key_value(std::string_view line);

// "{ text }" -> "text", trimmed.  Errors: config, naming what is missing.
Result<std::string_view> strip_braces(std::string_view text);

// "{{rule}, {rule}}" -> the rules, trimmed.
Result<std::vector<std::string>> inline_rules(std::string_view text);

// quote_822_local(3), unquote_822_local(3).
std::string quote_address(std::string_view internal_address);
std::string unquote_address(std::string_view external_address);

// Reads a whole file of at most `limit` bytes.  Errors: not_found, io, too_large.
Result<std::string> read_file(const std::string& path, std::size_t limit);

}  // namespace millrace::map
