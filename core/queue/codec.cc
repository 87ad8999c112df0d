#include "core/queue/codec.h"

#include "core/queue/bytes.h"
#include "core/queue/checksum.h"

namespace millrace::queue {
namespace {

constexpr std::uint8_t kStateVersion = 1, kMessageVersion = 1, kEnvelopeVersion = 3, kRecipientVersion = 1;
constexpr std::size_t kMaxReason = 4096;  // of one text of an outcome

void put_crc(std::string& out, std::size_t start) {
  put_u32(out, crc32c(std::string_view(out).substr(start)));
}

// Cuts the checksum off the end; false when it does not match.
bool check_crc(std::string_view& bytes) {
  if (bytes.size() < 4) return false;
  ByteReader tail(bytes.substr(bytes.size() - 4));
  bytes.remove_suffix(4);
  return tail.u32() == crc32c(bytes);
}

unsigned bit(bool set, unsigned position) { return set ? 1u << position : 0u; }

// Strings of the envelope in the order of the format; new ones go to the end with a new version.
template <typename Envelope, typename Each>
void each_string(Envelope& e, unsigned version, const Each& each) {
  each(e.queue_id);
  each(e.sender);
  each(e.envid);
  each(e.client_name);
  each(e.client_address);
  each(e.client_port);
  each(e.reverse_client_name);
  each(e.helo_name);
  each(e.protocol);
  each(e.sasl_method);
  each(e.sasl_username);
  each(e.sasl_sender);
  each(e.log_client_name);
  each(e.log_client_address);
  each(e.log_client_port);
  each(e.log_helo_name);
  each(e.log_protocol);
  each(e.log_ident);
  each(e.hold_reason);
  each(e.content_filter);
  each(e.redirect);
  if (version >= 2) each(e.source);
  if (version >= 3) each(e.verp);
}

void put_recipient(const mime::Recipient& recipient, std::string& out) {
  const bool has_original = recipient.original != recipient.address;
  put_u8(out, static_cast<std::uint8_t>((recipient.notify & 15u) | bit(has_original, 4) |
                                        bit(!recipient.orcpt.empty(), 5)));
  put_string(out, recipient.address);
  if (has_original) put_string(out, recipient.original);
  if (!recipient.orcpt.empty()) put_string(out, recipient.orcpt);
}

bool take_recipient(ByteReader& in, mime::Recipient& recipient) {
  const unsigned bits = in.u8();
  if (bits > 0x3f) return false;
  recipient.notify = bits & 15;
  recipient.address = std::string(in.string());
  recipient.original = (bits & 16) != 0 ? std::string(in.string()) : recipient.address;
  if ((bits & 32) != 0) recipient.orcpt = std::string(in.string());
  return !in.failed();
}

}  // namespace

void encode_state(const State& state, std::string& out) {
  const std::size_t start = out.size();
  put_u8(out, kStateVersion);
  put_u8(out, static_cast<std::uint8_t>(state.queue));
  put_u8(out, static_cast<std::uint8_t>(bit(state.forced_expire, 0) | bit(state.delay_warned, 1) |
                                        bit(state.single_bounce, 2) | bit(state.double_bounce, 3) |
                                        bit(state.side_file, 4) | bit(state.recipient_records, 5)));
  put_u64(out, static_cast<std::uint64_t>(state.queued));
  put_u64(out, static_cast<std::uint64_t>(state.arrival));
  put_u64(out, static_cast<std::uint64_t>(state.next_attempt));
  put_u64(out, state.size);
  put_u32(out, state.attempts);
  put_u32(out, state.deaths);
  put_string(out, state.sender);
  put_crc(out, start);
}

std::optional<State> decode_state(std::string_view bytes) {
  if (!check_crc(bytes)) return {};
  ByteReader in(bytes);
  State state;
  if (in.u8() != kStateVersion) return {};
  const unsigned queue = in.u8();
  if (queue > static_cast<unsigned>(QueueName::corrupt)) return {};
  state.queue = static_cast<QueueName>(queue);
  const unsigned flags = in.u8();
  if (flags > 0x3f) return {};
  state.forced_expire = (flags & 1) != 0;
  state.delay_warned = (flags & 2) != 0;
  state.single_bounce = (flags & 4) != 0;
  state.double_bounce = (flags & 8) != 0;
  state.side_file = (flags & 16) != 0;
  state.recipient_records = (flags & 32) != 0;
  state.queued = static_cast<WallMicros>(in.u64());
  state.arrival = static_cast<WallMicros>(in.u64());
  state.next_attempt = static_cast<WallMicros>(in.u64());
  state.size = in.u64();
  state.attempts = in.u32();
  state.deaths = in.u32();
  state.sender = std::string(in.string());
  if (!in.finished()) return {};
  return state;
}

void encode_message_header(const MessageHeader& header, std::string& out) {
  const std::size_t start = out.size();
  put_u8(out, kMessageVersion);
  put_u8(out, header.side_file ? 1 : 0);
  put_u32(out, header.envelope_size);
  put_u32(out, header.inline_size);
  put_u64(out, header.content_size);
  put_u32(out, header.envelope_crc);
  put_u32(out, header.content_crc);
  put_u32(out, 0);  // reserved
  put_crc(out, start);
}

std::optional<MessageHeader> decode_message_header(std::string_view record) {
  if (record.size() < MessageHeader::kSize) return {};
  std::string_view head = record.substr(0, MessageHeader::kSize);
  if (!check_crc(head)) return {};
  ByteReader in(head);
  MessageHeader header;
  if (in.u8() != kMessageVersion) return {};
  const unsigned side = in.u8();
  header.side_file = side == 1;
  header.envelope_size = in.u32();
  header.inline_size = in.u32();
  header.content_size = in.u64();
  header.envelope_crc = in.u32();
  header.content_crc = in.u32();
  const std::uint64_t expected =
      MessageHeader::kSize + std::uint64_t{header.envelope_size} + header.inline_size;
  if (side > 1 || in.u32() != 0 || !in.finished() || record.size() != expected) return {};
  if (header.side_file ? header.content_size < header.inline_size : header.content_size != header.inline_size) {
    return {};
  }
  return header;
}

void encode_envelope(const mime::Envelope& envelope, const std::vector<RecipientState>& recipients,
                     std::string& out) {
  put_u8(out, kEnvelopeVersion);
  put_u8(out, static_cast<std::uint8_t>(static_cast<unsigned>(envelope.ret) |
                                        static_cast<unsigned>(envelope.body) << 2 |
                                        bit(envelope.smtputf8, 4) | bit(envelope.hold, 5) |
                                        static_cast<unsigned>(envelope.trace) << 6));
  put_u64(out, static_cast<std::uint64_t>(envelope.arrival));
  put_varint(out, envelope.size);
  each_string(envelope, kEnvelopeVersion, [&](const std::string& text) { put_string(out, text); });
  if (recipients.empty()) {
    put_varint(out, envelope.recipients.size());
    for (const mime::Recipient& recipient : envelope.recipients) put_recipient(recipient, out);
  } else {
    put_varint(out, recipients.size());
    for (const RecipientState& state : recipients) put_recipient(state.recipient, out);
  }
  if (envelope.expanded.empty()) return;
  put_varint(out, envelope.expanded.size());
  for (const mime::Recipient& recipient : envelope.expanded) put_recipient(recipient, out);
}

bool decode_envelope(std::string_view bytes, mime::Envelope& envelope, std::vector<RecipientState>& recipients) {
  ByteReader in(bytes);
  const unsigned version = in.u8();
  if (version < 1 || version > kEnvelopeVersion) return false;
  const unsigned flags = in.u8();
  const unsigned ret = flags & 3, body = flags >> 2 & 3, trace = flags >> 6;
  if (ret > 2 || body > 2 || trace > 2) return false;
  envelope.ret = static_cast<mime::Ret>(ret);
  envelope.body = static_cast<mime::BodyType>(body);
  envelope.smtputf8 = (flags & 16) != 0;
  envelope.hold = (flags & 32) != 0;
  envelope.trace = static_cast<mime::Trace>(trace);
  envelope.arrival = static_cast<WallMicros>(in.u64());
  envelope.size = in.varint();
  each_string(envelope, version, [&](std::string& text) { text = std::string(in.string()); });
  const std::uint64_t count = in.varint();
  // Each takes two bytes at least, so the reservation is bounded by the input.
  if (in.failed() || count > kMaxRecipients || count > in.left() / 2) return false;
  envelope.recipients.clear();
  envelope.expanded.clear();
  recipients.clear();
  recipients.reserve(static_cast<std::size_t>(count));
  for (std::uint64_t i = 0; i < count; ++i) {
    if (!take_recipient(in, recipients.emplace_back().recipient)) return false;
  }
  if (in.left() == 0) return in.finished();   // as a rule nothing was expanded
  const std::uint64_t expanded = in.varint();
  if (in.failed() || expanded == 0 || expanded > kMaxRecipients || expanded > in.left() / 2) return false;
  for (std::uint64_t i = 0; i < expanded; ++i) {
    if (!take_recipient(in, envelope.expanded.emplace_back())) return false;
  }
  return in.finished();
}

void encode_recipient(const RecipientState& state, std::string& out) {
  const std::size_t start = out.size();
  const auto text = [&](const std::string& value) {
    put_string(out, std::string_view(value).substr(0, kMaxReason));
  };
  put_u8(out, kRecipientVersion);
  put_u8(out, state.done ? 1 : 0);
  text(state.dsn);
  text(state.reason);
  text(state.remote_mta);
  text(state.diagnostic);
  text(state.action);
  put_crc(out, start);
}

bool decode_recipient(std::string_view bytes, RecipientState& state) {
  if (!check_crc(bytes)) return false;
  ByteReader in(bytes);
  if (in.u8() != kRecipientVersion) return false;
  const unsigned done = in.u8();
  state.done = done == 1;
  state.dsn = std::string(in.string());
  state.reason = std::string(in.string());
  state.remote_mta = std::string(in.string());
  state.diagnostic = std::string(in.string());
  state.action = std::string(in.string());
  return done <= 1 && in.finished();
}

std::string recipient_key(std::string_view queue_id, std::uint32_t index) {
  std::string key(queue_id);
  key.push_back('\0');
  for (int shift = 24; shift >= 0; shift -= 8) key.push_back(static_cast<char>(index >> shift));  // sorts
  return key;
}

std::optional<std::uint32_t> recipient_index(std::string_view key, std::string_view queue_id) {
  if (key.size() != queue_id.size() + 5 || key.substr(0, queue_id.size()) != queue_id ||
      key[queue_id.size()] != '\0') {
    return {};
  }
  std::uint32_t index = 0;
  for (const char c : key.substr(queue_id.size() + 1)) index = index << 8 | static_cast<unsigned char>(c);
  return index;
}

}  // namespace millrace::queue
