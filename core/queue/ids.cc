// Queue ids as text, and the names of queues.
#include "core/base/strings.h"
#include "core/queue/store.h"

namespace millrace::queue {
namespace {

// Digits and consonants: 52 signs, none of which makes words.  Base 51 leaves 'z' out, which separates
// time and counter in the long form (postconf(5), enable_long_queue_ids).
constexpr char kDigits[] = "0123456789BCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz";
constexpr std::size_t kMaxLength = 31;

std::string in_base(std::uint64_t value, unsigned base, std::size_t width) {
  std::string out;
  for (; value > 0; value /= base) out.insert(out.begin(), kDigits[value % base]);
  if (out.size() < width) out.insert(0, width - out.size(), '0');
  return out;
}

constexpr const char* kNames[] = {"incoming", "active", "deferred", "hold", "corrupt"};

}  // namespace

std::string format_queue_id(std::uint64_t number, WallMicros when, bool long_form) {
  if (long_form) {
    const auto micros = static_cast<std::uint64_t>(when);
    return in_base(micros / 1000000, 52, 6) + in_base(micros % 1000000, 52, 4) + 'z' +
           in_base(number, 51, 1);
  }
  constexpr char kHex[] = "0123456789ABCDEF";
  std::string out;
  for (; number > 0; number >>= 4) out.insert(out.begin(), kHex[number & 15]);
  if (out.size() < 10) out.insert(0, 10 - out.size(), '0');
  return out;
}

// As loose as Postfix's own check: tools must tell "no such message" from "no queue id".  It is also
// what makes an id safe as a file name.
bool is_queue_id(std::string_view text) {
  if (text.empty() || text.size() > kMaxLength) return false;
  for (const char c : text) {
    if (!is_alnum(c)) return false;
  }
  return true;
}

const char* queue_name(QueueName name) { return kNames[static_cast<unsigned>(name)]; }

std::optional<QueueName> parse_queue_name(std::string_view text) {
  for (unsigned i = 0; i < std::size(kNames); ++i) {
    if (text == kNames[i]) return static_cast<QueueName>(i);
  }
  return {};
}

}  // namespace millrace::queue
