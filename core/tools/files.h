// Whole files, for the commands.
#pragma once

#include <string>

namespace millrace::tools {

// False with "open PATH: why" in `problem`.
bool read_whole(const std::string& path, std::string& text, std::string& problem);

// Puts `text` in PATH's place by way of PATH.tmp, with PATH's mode and owner; what was there stays when
// anything fails.
bool replace_whole(const std::string& path, const std::string& text, std::string& problem);

}  // namespace millrace::tools
