#include "core/deliver/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/base/strings.h"

namespace millrace::deliver {

std::string format_delay(WallMicros span, int places) {
  const double seconds = static_cast<double>(std::max<WallMicros>(span, 0)) / 1e6;
  if (seconds >= 100) return fmt::format("{:.0f}", std::floor(seconds));
  // Two significant digits: 12, 1.2, 0.12, 0.01.
  const int wanted = seconds >= 10 ? 0 : seconds >= 1 ? 1 : 2;
  std::string out = fmt::format("{:.{}f}", seconds, std::clamp(std::min(wanted, places), 0, 6));
  if (out.find('.') != std::string::npos) {
    while (out.back() == '0') out.pop_back();
    if (out.back() == '.') out.pop_back();
  }
  return out;
}

std::string recipient_line(const Attempt& attempt, std::size_t position, WallMicros ended, int places,
                           std::string_view status) {
  const Outcome& outcome = attempt.outcomes[position];
  const mime::Recipient& recipient = attempt.recipient(position);
  const WallMicros arrival = attempt.entry->envelope.arrival;
  const WallMicros connected = attempt.connected == 0 ? ended : attempt.connected;
  const auto delay = [&](WallMicros span) { return format_delay(span, places); };
  const std::string& address = outcome.final_recipient.empty() ? recipient.address : outcome.final_recipient;
  const std::string& original = recipient.original.empty() ? recipient.address : recipient.original;
  std::string out = attempt.entry->envelope.queue_id + ": to=<" + address + ">, ";
  if (!iequals(original, address)) {
    out += "orig_to=<" + original + ">, ";
  }
  out += "relay=" + (outcome.relay.empty() ? "none" : outcome.relay) + ", ";
  if (outcome.connection_use > 1) out += "conn_use=" + std::to_string(outcome.connection_use) + ", ";
  out += "delay=" + delay(ended - arrival) + ", delays=" + delay(attempt.active - arrival) + "/" +
         delay(attempt.started - attempt.active) + "/" + delay(connected - attempt.started) + "/" +
         delay(ended - connected) + ", dsn=" + outcome.dsn + ", status=";
  out += status;
  out += " (" + outcome.text + ")";
  return out;
}

}  // namespace millrace::deliver
