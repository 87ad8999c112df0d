// main.cf: "name = value" per logical line.  Pure: bytes in, entries and findings out.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/config/config.h"

namespace millrace::config {

struct Entry {
  std::string name, value;   // value not expanded, blanks around it removed
  int line = 0;
};

// "name = value"; nullptr and the two views, or what is wrong.
const char* split_assignment(std::string_view text, std::string_view& name, std::string_view& value);

// One entry per name, the last assignment wins.  `file` is for the findings.
std::vector<Entry> parse_main_cf(std::string_view text, const std::string& file, Findings& findings);

}  // namespace millrace::config
