// Makes FILE.lmdb from the text FILE, as postmap(1) does, and changes it.
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
  bool fold = true;              // keys to lower case
  bool terminate = true;         // keys and values end in a NUL byte, as Debian's postmap writes them
  bool inherit_mode = true;      // the file's mode is the source's; else 0644
  bool inherit_owner = true;     // and its owner, when we may
  bool utf8 = true;              // lines that are no UTF-8 are left out
  // What stands in the table for a value of the source; errors are warnings, and the entry is left out.
  std::function<Result<std::string>(std::string_view)> convert{};
};

using Entries = std::map<std::string, std::string>;
// Puts an entry into `entries` by the rule for duplicates; a complaint, if any, goes to `warn`.
void add_entry(Entries& entries, const std::string& key, std::string value, const BuildOptions& options);

// What a postmap source says, keys folded to lower case.  `name` is for warnings.  Pure.
Entries parse_source(std::string_view text, const std::string& name, const BuildOptions& options);

// Errors: config (no such file, a key too long for LMDB), io, no_space.
Result<void> build_lmdb(const std::string& text_path, const BuildOptions& options);
// The same from entries that are there already.  `like` gives the owner and mode: the source, or the table itself; "": the caller's, 0644.
Result<void> write_lmdb(const std::string& text_path, const Entries& entries, const std::string& like,
                        const BuildOptions& options);
// All entries of FILE.lmdb, ours or Postfix's.  Errors: not_found, io, config (no LMDB file).
Result<Entries> read_lmdb(const std::string& text_path);

}  // namespace millrace::map
