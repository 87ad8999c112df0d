// cidr_table(5): rules over IP addresses, first match wins; if/endif, negation.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/map/network.h"

namespace millrace::map {

using Warn = std::function<void(const std::string&)>;   // "line 3: …"

class CidrRules {
 public:
  // `number` is the line it stands in.  Lines that cannot be used are warned about and skipped.
  void add(std::string_view line, int number, const Warn& warn);
  void finish(const Warn& warn);
  // nullptr: no rule matches, or the key is no address.
  const std::string* find(std::string_view key) const;

 private:
  enum class Kind { match, begin_if, endif };
  struct Rule {
    Kind kind = Kind::match;
    bool negated = false;
    Network network;
    std::string value;
    std::size_t block_end = 0;   // of begin_if: index of its endif, or past the last rule
    int line = 0;
  };
  std::vector<Rule> rules_;
  std::vector<std::size_t> open_;
};

}  // namespace millrace::map
