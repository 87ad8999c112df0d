// receive_override_options as flags.  Pure.
#pragma once

#include <string_view>

#include "core/base/result.h"

namespace millrace::config {

struct ReceiveOverrides {
  bool any_recipient = false;       // no_unknown_recipient_checks
  bool no_mappings = false;         // no_address_mappings
  bool no_content_checks = false;   // no_header_body_checks
  bool no_milters = false;
};
// Errors: config, with the word that is none.
Result<ReceiveOverrides> parse_receive_overrides(std::string_view text);

}  // namespace millrace::config
