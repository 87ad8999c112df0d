#include "core/deliver/destination.h"

#include <algorithm>

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
  return !jobs.empty() || recent > kBusyPerSecond;
}

Destination& Transport::destination(const std::string& key, const std::string& nexthop) {
  auto& slot = destinations[key];
  if (slot == nullptr) slot = std::make_unique<Destination>(key, nexthop, limits.concurrency);
  return *slot;
}

void Transport::enter_ring(Destination& destination) {
  if (destination.in_ring) return;
  destination.in_ring = true;
  ring.push_back(&destination);
}

Destination* Transport::next_ready(TimePoint now) {
  if (limits.processes > 0 && busy >= limits.processes) return nullptr;
  for (std::size_t turns = ring.size(); turns > 0; --turns) {
    Destination* const one = ring.front();
    ring.pop_front();
    if (one->jobs.empty()) {
      one->in_ring = false;
      continue;
    }
    ring.push_back(one);
    if (one->busy < one->window.size() && now >= one->not_before) return one;
  }
  return nullptr;
}

bool Transport::others_wait(const Destination& than) const {
  if (limits.processes == 0 || busy < limits.processes) return false;
  return std::any_of(ring.begin(), ring.end(), [&](const Destination* one) {
    return one != &than && !one->jobs.empty() && one->busy < one->window.size();
  });
}

void Transport::forget_idle(Destination& destination) {
  if (destination.busy > 0 || !destination.jobs.empty() || destination.window.dead()) return;
  if (destination.is_busy() || destination.not_before > SteadyClock::now()) return;   // its rate is still of use
  if (destination.in_ring) std::erase(ring, &destination);
  destinations.erase(std::string(destination.key));
}

}  // namespace millrace::deliver
