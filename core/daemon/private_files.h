// plugin_private_files: what only root may read, for plugins that run without those rights.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "core/base/result.h"

namespace millrace::daemon {

// Reads what the patterns (separated by commas and white space) match, by path.  Refused: a file that its group or
// others may read or write, one that is not regular or larger than a key, more than 1000 of them, and a pattern that is
// no path from the root or matches nothing.  The bytes are overwritten before their memory is given back.
Result<std::shared_ptr<const std::map<std::string, std::string>>> read_private_files(const std::string& patterns);

}  // namespace millrace::daemon
