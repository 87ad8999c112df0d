#include "core/queue/control_wire.h"

#include "core/base/strings.h"
#include "core/queue/codec.h"

namespace millrace::queue {
namespace {

constexpr std::size_t kRecipientsPerItem = 1000;
constexpr std::size_t kFixed = 7;   // strings before the recipients

}  // namespace

std::vector<Strings> encode_listing(const Listing& listing) {
  std::vector<Strings> out;
  std::size_t at = 0;
  do {
    Strings& item = out.emplace_back();
    item = {at == 0 ? "message" : "more",           queue_name(listing.queue), listing.queue_id,
            std::to_string(listing.arrival_seconds), std::to_string(listing.size),
            listing.forced_expire ? "1" : "0",       listing.sender};
    for (std::size_t i = 0; i < kRecipientsPerItem && at < listing.recipients.size(); ++i, ++at) {
      item.push_back(listing.recipients[at].address);
      item.push_back(listing.recipients[at].reason);
    }
  } while (at < listing.recipients.size());
  return out;
}

bool decode_listing(const Strings& item, std::vector<Listing>& listings) {
  if (item.size() < kFixed || (item.size() - kFixed) % 2 != 0) return false;
  if (item[0] == "message") {
    Listing listing;
    const auto queue = parse_queue_name(item[1]);
    const auto arrival = parse_number<std::int64_t>(item[3]);
    const auto size = parse_number(item[4]);
    if (!queue || !is_queue_id(item[2]) || !arrival || !size) return false;
    listing.queue = *queue;
    listing.queue_id = item[2];
    listing.arrival_seconds = *arrival;
    listing.size = *size;
    listing.forced_expire = item[5] == "1";
    listing.sender = item[6];
    listings.push_back(std::move(listing));
  } else if (item[0] != "more" || listings.empty() || listings.back().queue_id != item[2]) {
    return false;
  }
  for (std::size_t i = kFixed; i < item.size(); i += 2) listings.back().recipients.push_back({item[i], item[i + 1]});
  return true;
}

Strings encode_entry(const Entry& entry) {
  Strings out{"entry", queue_name(entry.queue), std::to_string(entry.queued)};
  encode_envelope(entry.envelope, entry.recipients, out.emplace_back());
  for (const RecipientState& state : entry.recipients) encode_recipient(state, out.emplace_back());
  return out;
}

std::optional<Entry> decode_entry(const Strings& item) {
  if (item.size() < 4 || item[0] != "entry") return {};
  Entry entry;
  const auto queue = parse_queue_name(item[1]);
  const auto queued = parse_number<std::int64_t>(item[2]);
  if (!queue || !queued || !decode_envelope(item[3], entry.envelope, entry.recipients)) return {};
  if (item.size() != 4 + entry.recipients.size()) return {};
  entry.queue = *queue;
  entry.queued = *queued;
  for (std::size_t i = 0; i < entry.recipients.size(); ++i) {
    if (!decode_recipient(item[4 + i], entry.recipients[i])) return {};
  }
  return entry;
}

}  // namespace millrace::queue
