// alias_maps as local(8) asks them: which table had the name, and who owns it.
#pragma once

#include <sys/types.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/config/config.h"
#include "core/map/table.h"

namespace millrace::local {

// An aliases(5) source: name (lower case, unquoted) to its value as written.  Pure.
std::map<std::string, std::string> parse_alias_file(std::string_view text);

class AliasMaps {
 public:
  struct Found {
    std::string value;
    uid_t owner = 0;   // of the table's file; 0 for tables without one, which the administrator wrote
  };
  // Tables that only the default names may be missing.  hash:FILE is FILE.lmdb, or the text.  Errors: config.
  static Result<AliasMaps> open(const config::Config& config, const config::Params& params, map::TableSet& tables);
  // `name` in lower case.  Errors: temporary.
  Result<std::optional<Found>> find(const std::string& name);

 private:
  struct Source {
    std::shared_ptr<map::Table> table;           // or the text of `path`
    std::string path;                            // "": no file
    std::map<std::string, std::string> names;
    timespec read{};                             // modification time of what was read
  };
  static Result<void> read_text(Source& source);
  std::vector<Source> sources_;
};

}  // namespace millrace::local
