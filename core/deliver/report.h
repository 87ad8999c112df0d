// The log line of a recipient, in Postfix 3.7's shape (pflogsumm wants delay, delays, dsn and status side
// by side).  Pure.
#pragma once

#include <string>
#include <string_view>

#include "core/deliver/attempt.h"

namespace millrace::deliver {

// "0", "0.01", "1.2", "12", "345": two significant digits, at most `places` decimals
// (delay_logging_resolution_limit), whole numbers from 100 s.
std::string format_delay(WallMicros span, int places);

// "QID: to=<r>, relay=…, delay=…, delays=a/b/c/d, dsn=…, status=… (…)".
std::string recipient_line(const Attempt& attempt, std::size_t position, WallMicros ended, int places,
                           std::string_view status);

}  // namespace millrace::deliver
