// unionmap and pipemap: tables made of tables.  An error of any table that is asked is an error of the whole;
// opening the parts is TableSet's work.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/map/table.h"

namespace millrace::map {

// "{type:name, type:name}" -> the names of the parts, at least one.  `type` is for the message of an error.
Result<std::vector<std::string>> combined_parts(std::string_view type, std::string_view argument);

using Parts = std::span<const std::shared_ptr<Table>>;
// All results, joined with commas; not found when no table finds the key.
Lookup find_union(Parts parts, std::string_view key);
// Each table is asked for what the one before it gave; not found when one of them finds nothing.
Lookup find_piped(Parts parts, std::string_view key);

}  // namespace millrace::map
