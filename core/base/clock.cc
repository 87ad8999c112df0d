#include "core/base/clock.h"

#include <ctime>

namespace millrace {
namespace {

std::tm local(WallMicros when) {
  const std::time_t seconds = when / 1000000;
  std::tm out{};
  localtime_r(&seconds, &out);
  return out;
}

}  // namespace

WallMicros wall_now() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

std::string rfc5322_date(WallMicros when) {
  static const char* const kDays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static const char* const kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                        "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const std::tm tm = local(when);
  const long offset = tm.tm_gmtoff / 60;
  const long minutes = offset < 0 ? -offset : offset;
  char text[128];
  std::snprintf(text, sizeof text, "%s, %2d %s %d %02d:%02d:%02d %c%02ld%02ld (%s)", kDays[tm.tm_wday],
                tm.tm_mday, kMonths[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec,
                offset < 0 ? '-' : '+', minutes / 60, minutes % 60, tm.tm_zone);
  return text;
}

std::string syslog_date(WallMicros when) {
  const std::tm tm = local(when);
  char text[64];
  std::strftime(text, sizeof text, "%b %e %H:%M:%S", &tm);
  return text;
}

}  // namespace millrace
