// The two checks of names: what is set and not acted on (core/config/other_names.def), and what is set and
// not used by anything.
#pragma once

#include <set>
#include <string>

#include "core/config/config.h"

namespace millrace::config {

// Warnings for harmless, errors for refused parameters that main.cf or a service's -o sets to something
// other than the default.
void check_support(const Config& config, Findings& findings);

// Postfix's warnings "unused parameter: name=value" and "undefined parameter: name".
void check_unused(const Config& config, Findings& findings);

// The names set in main.cf that nothing uses.
std::set<std::string, std::less<>> unused_names(const Config& config);

}  // namespace millrace::config
