// The source of an alias table, aliases(5): "name: value, …" with quoted names and continuation lines.  Pure.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "core/map/build.h"

namespace millrace::map {

// Names without quotes, folded to lower case, each with the text behind its colon, white space around it and line
// breaks in it left out.  What is no alias is warned about and skipped; `name` is the file's, for warnings.
std::map<std::string, std::string> parse_aliases(std::string_view text, const std::string& name,
                                                 const BuildOptions& options);

}  // namespace millrace::map
