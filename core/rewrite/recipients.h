// Who is known in each address class: the *_recipient_maps of reject_unlisted_recipient.
#pragma once

#include <string>
#include <string_view>

#include "core/base/result.h"
#include "core/config/config.h"
#include "core/map/table.h"

namespace millrace::rewrite {

// local_recipient_maps; those of alias_maps among them may be read as aliases(5).
class LocalRecipients {
 public:
  // Alias tables that only a default names may be missing: they are left out.  Errors: config.
  static Result<LocalRecipients> make(const config::Config* config, const config::Params& params,
                                      map::TableSet& tables);
  bool accepts_all() const { return accepts_all_; }
  bool may_suspend() const { return maps_.may_suspend(); }
  // Errors: temporary.
  Result<bool> knows(std::string_view address, std::string_view recipient_delimiter) const;

 private:
  bool accepts_all_ = false;
  map::Maps maps_;
};

}  // namespace millrace::rewrite
