// The configuration's half of `check`, and how findings are shown everywhere.
#pragma once

#include <cstdio>
#include <string>
#include <string_view>

#include "core/config/config.h"

namespace millrace::tools {

// One line each: "millrace: warning: FILE, line N: NAME: text", "millrace: fatal: …".  0, or 1 with errors.
int report(const config::Findings& findings, std::string_view program, std::FILE* out = stderr);

// Loads DIR's main.cf and master.cf and reports.  What tables, restrictions and filters make of their values
// is for the daemon's check.
int check_configuration(const std::string& config_directory, std::string_view program = "millrace");

}  // namespace millrace::tools
