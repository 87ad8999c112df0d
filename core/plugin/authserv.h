// Whose Authentication-Results field is it?  What came with a message under our own name is forged (RFC 8601
// section 5) and goes before any filter looks.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "core/filter/chain.h"

namespace millrace::plugin {

// The authserv-id of a field's value, comments skipped, quotes taken off; "" when there is none.  Pure; any bytes.
std::string authserv_id_of(std::string_view value);

// A filter that deletes them, from clients that are not our own (local_header_rewrite_clients).  To stand first in a chain.
std::shared_ptr<filter::Filter> make_authserv_guard(std::string authserv_id);

}  // namespace millrace::plugin
