// Looking an address up in a table of addresses, as canonical, virtual alias and generic mapping do
// (mail_addr_map(3)): which keys are asked, and what a result means for this address.
//
// Promise: a table that fails, or a result without an address, is a temporary error.  Does not repeat a look-up on
// its result.  [fiber, when a table may suspend]
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "core/config/config.h"
#include "core/map/table.h"
#include "core/rewrite/address.h"
#include "core/rewrite/router.h"

namespace millrace::rewrite {

// `name` is the parameter's, for errors.
struct NamedMaps {
  const char* name;
  map::Maps maps;
};

class AddressMapper {
 public:
  AddressMapper() = default;
  AddressMapper(const config::Params& params, std::shared_ptr<const Router> router);

  // The table's text; `extension` (may be nullptr) receives the part of the address that the key left out.
  Result<std::optional<std::string>> find(const NamedMaps& maps, std::string_view address, std::string* extension) const;
  // The addresses that a table has for this one, completed; none: it is not there.  "@domain" as a result stands for
  // the same user there; `propagate` puts an unmatched extension on each.
  Result<std::vector<std::string>> look_up(const NamedMaps& maps, std::string_view address, bool propagate) const;

 private:
  std::shared_ptr<const Router> router_;
  RewriteRules rules_;
  std::string myorigin_, recipient_delimiter_;
};

// Fields that name senders and recipients (cleanup(8)'s header_opts).
bool is_sender_field(std::string_view name);
bool is_recipient_field(std::string_view name);

}  // namespace millrace::rewrite
