// The records of the store as bytes.  Versioned, compact, little-endian; decoders are pure, bounded and
// answer nullopt (or false) for anything that encode did not make.
//
// A message is three kinds of records, so that what changes often is small:
//   state      what changes with every attempt, and what listings need          (key: queue id)
//   message    envelope and (small) content, written once                       (key: queue id)
//   recipient  outcome of one recipient, written when it has one    (key: queue id, NUL, index)
// Format of a string: varint length, bytes.  Format of a message record: see MessageHeader.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "core/queue/store.h"

namespace millrace::queue {

// More recipients than any configuration lets into one message; bounds the decoder.
constexpr std::size_t kMaxRecipients = 200000;

struct State {
  QueueName queue = QueueName::incoming;
  WallMicros queued = 0, arrival = 0, next_attempt = 0;
  std::uint64_t size = 0;
  std::uint32_t attempts = 0, deaths = 0;
  bool forced_expire = false, delay_warned = false, single_bounce = false, double_bounce = false;
  bool side_file = false;           // content (after the inline part) is in a side file
  bool recipient_records = false;   // there is at least one
  std::string sender;
};

void encode_state(const State& state, std::string& out);
std::optional<State> decode_state(std::string_view bytes);

// The head of a message record.  Then come envelope_size bytes of envelope and inline_size bytes of
// content; when content_size is more, the rest is the side file.
struct MessageHeader {
  static constexpr std::size_t kSize = 34;
  bool side_file = false;
  std::uint32_t envelope_size = 0, inline_size = 0;
  std::uint64_t content_size = 0;
  std::uint32_t envelope_crc = 0, content_crc = 0;
};

void encode_message_header(const MessageHeader& header, std::string& out);
// Also checks that the record is as long as the header says; not the checksums of what follows.
std::optional<MessageHeader> decode_message_header(std::string_view record);

// `recipients` of the envelope, or of the entry when that is empty.
void encode_envelope(const mime::Envelope& envelope, const std::vector<RecipientState>& recipients,
                     std::string& out);
// Fills envelope (without its recipients) and recipients.
bool decode_envelope(std::string_view bytes, mime::Envelope& envelope, std::vector<RecipientState>& recipients);

// Outcome only: the address is in the envelope.  Long texts are cut.
void encode_recipient(const RecipientState& state, std::string& out);
bool decode_recipient(std::string_view bytes, RecipientState& state);

std::string recipient_key(std::string_view queue_id, std::uint32_t index);
// The index in a key of that message; nullopt when it is another message's.
std::optional<std::uint32_t> recipient_index(std::string_view key, std::string_view queue_id);

}  // namespace millrace::queue
