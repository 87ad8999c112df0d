// `millrace plugin check FILE.so`: the conformance kit.
#pragma once

#include <string>
#include <vector>

namespace millrace::tools {

// Runs every case against every filter of the file, each in a process of its own, and prints one line a case.
// `settings` ("key=value") are what the filters are configured with.  0: all passed; 1: not; 2: no such file.
int plugin_check(const std::string& file, const std::vector<std::string>& settings);

}  // namespace millrace::tools
