// Makes FILE.lmdb from the text FILE, as postmap(1) does.
//
// Promise: the new file appears whole, by rename, or not at all; readers of the old one are undisturbed.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "core/base/result.h"

namespace millrace::map {

struct BuildOptions {
  enum class Duplicates { warn, replace, ignore } duplicates = Duplicates::warn;  // warn and ignore keep the first
  std::function<void(const std::string&)> warn;   // "access, line 3: …"
};

// What a postmap source says, keys folded to lower case.  `name` is for warnings.  Pure.
std::map<std::string, std::string> parse_source(std::string_view text, const std::string& name,
                                                const BuildOptions& options);

// Errors: config (no such file, a key too long for LMDB), io, no_space.
Result<void> build_lmdb(const std::string& text_path, const BuildOptions& options);

}  // namespace millrace::map
