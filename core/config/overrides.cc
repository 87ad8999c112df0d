#include "core/config/overrides.h"

#include <string>

#include "core/base/strings.h"

namespace millrace::config {

Result<ReceiveOverrides> parse_receive_overrides(std::string_view text) {
  ReceiveOverrides out;
  for (const std::string_view word : split(text, ", \t\r\n")) {
    if (iequals(word, "no_unknown_recipient_checks")) out.any_recipient = true;
    else if (iequals(word, "no_address_mappings")) out.no_mappings = true;
    else if (iequals(word, "no_header_body_checks")) out.no_content_checks = true;
    else if (iequals(word, "no_milters")) out.no_milters = true;
    else return fail(Errc::config, "unknown receive_override_options value: " + std::string(word));
  }
  return out;
}

}  // namespace millrace::config
