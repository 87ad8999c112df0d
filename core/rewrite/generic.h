// smtp_generic_maps and lmtp_generic_maps: addresses that mean something at home only, replaced in envelope and
// headers of mail that leaves (generic(5)).
//
// Promise: one look-up an address, never repeated on its result; a field without a mapped address stays byte for
// byte.  A table that fails is an error: mail never leaves half mapped.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "core/base/result.h"
#include "core/config/config.h"
#include "core/map/table.h"
#include "core/rewrite/address_map.h"
#include "core/rewrite/router.h"

namespace millrace::rewrite {

class GenericMaps {
 public:
  // nullptr when `value` is empty.  `name` (static) is the parameter's.  Errors: config.
  static Result<std::shared_ptr<const GenericMaps>> make(const char* name, std::string_view value, const config::Params& params,
                                                         std::shared_ptr<const Router> router, map::TableSet& tables);
  // Internal form in and out.  Errors of both: temporary. [fiber]
  Result<std::string> address(std::string_view address) const;
  // `field`: one header field, folding kept, with or without its last CRLF.
  Result<void> header(std::string& field) const;

 private:
  NamedMaps maps_{"", {}};
  AddressMapper mapper_;
  bool propagate_ = false;
  std::size_t token_limit_ = 0;
};

}  // namespace millrace::rewrite
