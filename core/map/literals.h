// What can be told of a pattern without running it: text that must stand in whatever it matches.
//
// Promise: what is told is true of each match; when it is hard to tell, nothing is told.  Tables of patterns use it
// to leave out, in a few nanoseconds each, the rules that cannot match.  Pure.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace millrace::map {

// The literal text every match of `pattern` begins with, at the start of the subject; "" when there is none
// or it cannot be told.
std::string literal_prefix(std::string_view pattern);

// Runs of two characters and more that every match contains, whatever their case.  Not for patterns in which blanks
// mean nothing (the x option).
std::vector<std::string> required_literals(std::string_view pattern);

// The pairs of neighbours in a text, without regard to case, as a set that may answer "yes" too often, never "no".
class Pairs {
 public:
  explicit Pairs(std::string_view text);
  bool has(std::uint16_t pair) const { return (words_[pair >> 6] >> (pair & 63) & 1) != 0; }
  // A pair's place in the set.
  static std::uint16_t place(char first, char second);

 private:
  std::array<std::uint64_t, 64> words_{};
};

}  // namespace millrace::map
