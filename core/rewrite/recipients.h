// Who is known in each address class: the *_recipient_maps of reject_unlisted_recipient.
#pragma once

#include <set>
#include <string>
#include <string_view>

#include "core/base/result.h"
#include "core/config/config.h"
#include "core/map/table.h"

namespace millrace::rewrite {

// Keys of an aliases(5) source, unquoted and in lower case.  Pure.
std::set<std::string> alias_names(std::string_view text);

// local_recipient_maps: tables, and the names that tables cannot give here: the system's users for
// [proxy:]unix:passwd.byname, and the source of an alias table without FILE.lmdb.
class LocalRecipients {
 public:
  // Tables that only a default names may be missing: they are left out.  Errors: config.
  static Result<LocalRecipients> make(const config::Config* config, const config::Params& params,
                                      map::TableSet& tables);
  bool accepts_all() const { return accepts_all_; }
  // Errors: temporary.
  Result<bool> knows(std::string_view address, std::string_view recipient_delimiter) const;

 private:
  bool accepts_all_ = false;
  std::set<std::string> names_;
  map::Maps maps_;
};

}  // namespace millrace::rewrite
