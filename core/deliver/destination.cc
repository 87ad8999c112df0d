#include "core/deliver/destination.h"

namespace millrace::deliver {

namespace {
// More deliveries than this in about a second, and connections are kept open for the next (cf.
// smtp_connection_cache_on_demand, "high volume").
constexpr std::size_t kBusyPerSecond = 10;

std::int64_t this_second() {
  return std::chrono::duration_cast<std::chrono::seconds>(SteadyClock::now().time_since_epoch()).count();
}
}  // namespace

void Destination::count_end() {
  const std::int64_t now = this_second();
  if (now != second) {
    before_ended = now == second + 1 ? now_ended : 0;
    now_ended = 0;
    second = now;
  }
  ++now_ended;
}

bool Destination::is_busy() const {
  const std::int64_t now = this_second();
  const std::size_t recent = now == second ? now_ended + before_ended : now == second + 1 ? now_ended : 0;
  return waiting > 0 || recent > kBusyPerSecond;
}

}  // namespace millrace::deliver
