// The text of an aliases(5) file as table entries, as postalias(1) stores them.  Pure.
#pragma once

#include <string>
#include <string_view>

#include "core/map/build.h"

namespace millrace::tools {

// "Root: a@b,  c" gives "root" and "a@b, c".  Lines without "name: value", and names with a domain, are left out
// with a warning.  `name` is for warnings.
map::Entries parse_aliases(std::string_view text, const std::string& name, const map::BuildOptions& options);

}  // namespace millrace::tools
