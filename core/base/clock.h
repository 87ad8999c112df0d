// Time: a steady clock for deadlines, the wall clock for dates.  Wall time is microseconds since 1970.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace millrace {

using SteadyClock = std::chrono::steady_clock;
using TimePoint = SteadyClock::time_point;

// Until when something may take.  A value; nests by earlier().
struct Deadline {
  TimePoint at = TimePoint::max();

  static Deadline never() { return {}; }
  static Deadline after(std::chrono::nanoseconds span) { return {SteadyClock::now() + span}; }
  bool passed() const { return at != TimePoint::max() && SteadyClock::now() >= at; }
  Deadline earlier(Deadline other) const { return at < other.at ? *this : other; }
};

using WallMicros = std::int64_t;  // microseconds since 1970-01-01 00:00 UTC

WallMicros wall_now();

// "Sat, 21 Nov 2026 11:50:52 +0000 (UTC)": RFC 5322 section 3.3 date in local time, with the zone name
// in a comment as Postfix writes it.
std::string rfc5322_date(WallMicros when);

// "Nov 21 11:50:52" in local time, as syslog writes it.
std::string syslog_date(WallMicros when);

}  // namespace millrace
