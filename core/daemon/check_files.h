// What `check` (postfix check) says of files and directories: owners, modes, what is missing.  Touches nothing.
#pragma once

#include <string>
#include <vector>

#include "core/daemon/child.h"

namespace millrace::daemon {

// One warning each, in postfix-script(1)'s words.  Directories that the first start makes are missed only where a
// mail system has run already.
std::vector<std::string> check_files(const config::Config& config, const Owner& owner);

}  // namespace millrace::daemon
