#include "core/smtp/transcript.h"

#include "core/base/strings.h"

namespace millrace::smtp {

namespace {
constexpr std::size_t kWidth = 78;
constexpr char kIndent[] = "    ";

constexpr std::pair<std::string_view, unsigned> kClasses[] = {
    {"bounce", kNotifyBounce},     {"data", kNotifyData},         {"policy", kNotifyPolicy},
    {"protocol", kNotifyProtocol}, {"resource", kNotifyResource}, {"software", kNotifySoftware}};
}  // namespace

unsigned notify_classes(std::string_view value) {
  unsigned out = 0;
  for (const std::string_view word : split(value, ", \t\r\n")) {
    for (const auto& [name, bit] : kClasses) {
      if (iequals(word, name)) out |= bit;
    }
  }
  return out;
}

unsigned trouble_of(const Reply& reply, bool by_policy) {
  if (!reply.negative()) return 0;
  const std::string_view detail = std::string_view(reply.enhanced).substr(std::min<std::size_t>(reply.enhanced.size(), 1));
  if (detail == ".3.5" || (reply.code == 451 && detail == ".3.0" && by_policy)) return kNotifySoftware;
  if (by_policy) return kNotifyPolicy;
  if (detail == ".3.4" || detail == ".4.0" || detail == ".6.0") return kNotifyBounce;   // size, hops, expansion
  if (reply.code == 452 || detail == ".3.0" || detail == ".3.1") return kNotifyResource;
  if (detail == ".7.0" && reply.code == 421) return kNotifyProtocol;                    // too many errors
  if (detail.starts_with(".7.") || detail.starts_with(".1.")) return kNotifyPolicy;
  if (reply.code >= 500) return kNotifyProtocol;
  return 0;
}

void Transcript::out(const Reply& reply) {
  if (reply.code == 0) return;
  const std::string wire = reply.wire();
  for (const std::string_view line : split(wire, "\r\n")) add(" Out: ", line);
}

void Transcript::add(std::string_view who, std::string_view line) {
  ++count_;
  if (lines_.size() > kMaxBytes) return;
  // Folded between words; what follows the first line is set in.
  std::string text = std::string(who) + printable(line);
  std::size_t at = 0;
  while (text.size() - at > kWidth) {
    const std::size_t space = text.rfind(' ', at + kWidth);
    if (space == text.npos || space <= at + 6) break;
    text.replace(space, 1, std::string("\r\n") + kIndent);
    at = space + 2;
  }
  lines_.append(text).append("\r\n");
}

void Transcript::checkpoint() {
  if (count_ <= threshold_) return;
  lines_.clear();
  lines_.shrink_to_fit();
  count_ = 0;
}

std::string Transcript::text(std::string_view reason) const {
  std::string out = "Transcript of session follows.\r\n\r\n" + lines_ + "\r\n";
  if (!reason.empty()) out += "Session aborted, reason: " + std::string(reason) + "\r\n";
  return out + "\r\nFor other details, see the local mail logfile\r\n";
}

}  // namespace millrace::smtp
