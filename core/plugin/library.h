// A plugin file, checked and loaded: the door through which foreign code comes in.
//
// Promise: what is loaded is a regular file, and nobody but root or the user we run as can have written it
// or put it there; it speaks our ABI; its descriptors make sense.  A library is never unloaded: new code
// comes with a new process.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "millrace/plugin.h"

namespace millrace::plugin {

class Library {
 public:
  // `name` without directory and ".so": letters, digits, "_", "-".  Errors: config, not_found, naming the
  // file and what is wrong. [load]
  static Result<std::shared_ptr<const Library>> open(const std::string& directory, std::string_view name);
  // For plugins that are part of a program (tests).
  static Result<std::shared_ptr<const Library>> from_entry(std::string name, const mr_entry* entry);

  const std::string& name() const { return name_; }
  const mr_entry& entry() const { return *entry_; }
  const std::vector<const mr_descriptor*>& descriptors() const { return descriptors_; }
  // By id; the first one for "".  nullptr: there is none.
  const mr_descriptor* find(std::string_view id) const;

 private:
  std::string name_;
  const mr_entry* entry_ = nullptr;
  std::vector<const mr_descriptor*> descriptors_;
};

bool is_plugin_name(std::string_view name);

// Names of the plugins in a directory, sorted.
Result<std::vector<std::string>> plugin_names(const std::string& directory);

}  // namespace millrace::plugin
