// See site_flush.h.
#include "core/daemon/site_flush.h"

#include <algorithm>

#include "core/base/strings.h"
#include "core/net/stream.h"
#include "core/queue/wire.h"

namespace millrace::daemon {
namespace {

constexpr std::chrono::seconds kRemembered{10};
constexpr std::size_t kMostAtOnce = 8;         // destinations within kRemembered
constexpr std::chrono::seconds kAnswerTime{5};
constexpr std::size_t kLongestAnswer = 4096;

}  // namespace

bool SiteFlush::ask(const std::string& destination) {
  const TimePoint now = SteadyClock::now();
  while (!recent_.empty() && now - recent_.front().when >= kRemembered) recent_.pop_front();
  const std::string name = lower(destination);
  const auto same = [&](const Asked& one) { return one.destination == name; };
  if (std::any_of(recent_.begin(), recent_.end(), same)) return true;
  if (recent_.size() >= kMostAtOnce) return false;
  recent_.push_back({name, now});   // before the wait: others who ask meanwhile share this one
  if (tell(name)) return true;
  std::erase_if(recent_, same);
  return false;
}

bool SiteFlush::tell(const std::string& destination) const {
  const Deadline deadline = Deadline::after(kAnswerTime);
  net::Endpoint control;
  control.address = socket_path_;
  control.is_unix = true;
  const auto stream = net::connect(control, {}, deadline);
  if (!stream) return false;
  std::string request, answer;
  queue::wire::put_strings(queue::wire::Type::request, {"site", destination}, request);
  if (!(*stream)->write(request, deadline)) return false;
  char buffer[512];
  while (answer.size() < kLongestAnswer) {
    const auto got = (*stream)->read_some(buffer, sizeof buffer, deadline);
    if (!got) return false;
    answer.append(buffer, *got);
    const queue::wire::Frame frame = queue::wire::decode(answer);
    if (frame.status == queue::wire::DecodeStatus::too_large) return false;
    if (frame.status == queue::wire::DecodeStatus::ok) return frame.type == queue::wire::Type::done;
  }
  return false;
}

}  // namespace millrace::daemon
