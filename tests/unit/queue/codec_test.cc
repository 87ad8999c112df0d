#include "core/queue/codec.h"

#include <catch2/catch.hpp>

#include "core/queue/bytes.h"
#include "core/queue/checksum.h"

namespace millrace::queue {
namespace {

mime::Envelope full_envelope() {
  mime::Envelope e;
  e.queue_id = "0123456789";
  e.sender = "s@example.org";
  e.envid = "id+2B";
  e.ret = mime::Ret::headers;
  e.body = mime::BodyType::eight_bit;
  e.smtputf8 = true;
  e.trace = mime::Trace::verify;
  e.arrival = 1700000000123456;
  e.size = 12345;
  e.client_name = "c.example";
  e.client_address = "192.0.2.1";
  e.client_port = "4711";
  e.helo_name = "helo";
  e.protocol = "ESMTP";
  e.log_ident = "x";
  e.hold = true;
  e.hold_reason = "why";
  e.redirect = "r@example.org";
  e.source = "REMOTE";
  e.verp = "+=";
  e.recipients = {{"a@example.net", "A@example.net", "rfc822;A@example.net", mime::kNotifyNever},
                  {"b@example.net", "b@example.net", "", 0}};
  return e;
}

std::string encoded_envelope() {
  std::string out;
  encode_envelope(full_envelope(), {}, out);
  return out;
}

}  // namespace

TEST_CASE("queue codec: CRC-32C of the known vector, both forms", "[queue]") {
  CHECK(crc32c("123456789") == 0xe3069283u);
  CHECK(crc32c_portable("123456789") == 0xe3069283u);
  const std::string text(1000, 'x');
  CHECK(crc32c(text) == crc32c_portable(text));
  CHECK(crc32c("456789", crc32c("123")) == crc32c("123456789"));
}

TEST_CASE("queue codec: varints at the borders", "[queue]") {
  for (const std::uint64_t value : {0ull, 127ull, 128ull, 16383ull, 16384ull, ~0ull}) {
    std::string bytes;
    put_varint(bytes, value);
    ByteReader in(bytes);
    CHECK(in.varint() == value);
    CHECK(in.finished());
  }
  ByteReader too_long(std::string_view("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 10));
  too_long.varint();
  CHECK(too_long.failed());
}

TEST_CASE("queue codec: an envelope comes back as it went", "[queue]") {
  const mime::Envelope before = full_envelope();
  mime::Envelope after;
  std::vector<RecipientState> recipients;
  REQUIRE(decode_envelope(encoded_envelope(), after, recipients));
  CHECK(after.queue_id == before.queue_id);
  CHECK(after.sender == before.sender);
  CHECK(after.envid == before.envid);
  CHECK(after.ret == before.ret);
  CHECK(after.body == before.body);
  CHECK(after.smtputf8);
  CHECK(after.trace == mime::Trace::verify);
  CHECK(after.arrival == before.arrival);
  CHECK(after.size == before.size);
  CHECK(after.client_port == "4711");
  CHECK(after.log_ident == "x");
  CHECK(after.hold);
  CHECK(after.redirect == "r@example.org");
  CHECK(after.verp == "+=");
  CHECK(after.recipients.empty());
  REQUIRE(recipients.size() == 2);
  CHECK(recipients[0].recipient.original == "A@example.net");
  CHECK(recipients[0].recipient.orcpt == "rfc822;A@example.net");
  CHECK(recipients[0].recipient.notify == mime::kNotifyNever);
  CHECK(recipients[1].recipient.original == "b@example.net");
  std::string again;
  encode_envelope(after, recipients, again);
  CHECK(again == encoded_envelope());
}

TEST_CASE("queue codec: no prefix and no extension of an envelope decodes", "[queue]") {
  const std::string bytes = encoded_envelope();
  mime::Envelope envelope;
  std::vector<RecipientState> recipients;
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    CHECK_FALSE(decode_envelope(std::string_view(bytes).substr(0, length), envelope, recipients));
  }
  CHECK_FALSE(decode_envelope(bytes + "x", envelope, recipients));
}

TEST_CASE("queue codec: a recipient count that the bytes do not back is refused", "[queue]") {
  mime::Envelope envelope;
  envelope.queue_id = "A";
  std::string bytes;
  encode_envelope(envelope, {}, bytes);
  bytes.pop_back();
  put_varint(bytes, 150000);
  std::vector<RecipientState> recipients;
  CHECK_FALSE(decode_envelope(bytes, envelope, recipients));
  CHECK(recipients.capacity() < 1000);
}

TEST_CASE("queue codec: states, and every flipped bit of one is noticed", "[queue]") {
  State state;
  state.queue = QueueName::hold;
  state.queued = 1;
  state.arrival = 2;
  state.next_attempt = 3;
  state.size = 4;
  state.attempts = 5;
  state.deaths = 2;
  state.forced_expire = state.double_bounce = state.side_file = true;
  state.sender = "a@b";
  std::string bytes;
  encode_state(state, bytes);
  const std::optional<State> back = decode_state(bytes);
  REQUIRE(back);
  CHECK(back->queue == QueueName::hold);
  CHECK(back->next_attempt == 3);
  CHECK(back->attempts == 5);
  CHECK(back->deaths == 2);
  CHECK(back->forced_expire);
  CHECK_FALSE(back->single_bounce);
  CHECK(back->double_bounce);
  CHECK(back->side_file);
  CHECK(back->sender == "a@b");
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    std::string damaged = bytes;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ 1 << bit % 8);
    CHECK_FALSE(decode_state(damaged));
  }
}

TEST_CASE("queue codec: outcomes of recipients", "[queue]") {
  RecipientState state;
  state.done = true;
  state.dsn = "5.1.1";
  state.reason = std::string(10000, 'r');
  state.action = "failed";
  std::string bytes;
  encode_recipient(state, bytes);
  RecipientState back;
  REQUIRE(decode_recipient(bytes, back));
  CHECK(back.done);
  CHECK(back.dsn == "5.1.1");
  CHECK(back.reason.size() == 4096);
  CHECK(back.action == "failed");
  CHECK_FALSE(decode_recipient(bytes.substr(1), back));
  CHECK_FALSE(decode_recipient("", back));
}

TEST_CASE("queue codec: recipient keys belong to one message", "[queue]") {
  CHECK(recipient_index(recipient_key("ABC", 70000), "ABC") == 70000u);
  CHECK_FALSE(recipient_index(recipient_key("ABCD", 1), "ABC"));
  CHECK_FALSE(recipient_index(recipient_key("ABD", 1), "ABC"));
  CHECK(recipient_key("ABC", 255) < recipient_key("ABC", 256));
}

TEST_CASE("queue codec: message headers fit their record or are refused", "[queue]") {
  std::string bytes;
  encode_message_header({false, 3, 4, 4, 1, 2}, bytes);
  CHECK(bytes.size() == MessageHeader::kSize);
  CHECK(decode_message_header(bytes + "1234567"));
  CHECK_FALSE(decode_message_header(bytes + "123456"));
  CHECK_FALSE(decode_message_header(bytes + "12345678"));
  std::string wrong;
  encode_message_header({false, 3, 4, 5, 1, 2}, wrong);   // more content than there is, and no side file
  CHECK_FALSE(decode_message_header(wrong + "1234567"));
}

TEST_CASE("queue ids: short and long forms", "[queue]") {
  CHECK(format_queue_id(0x1A2B, 0, false) == "0000001A2B");
  CHECK(format_queue_id(0x123456789ABCDull, 0, false) == "123456789ABCD");
  // The time as Postfix wrote it at that second: "4jWrl8" was seen for Sat Nov 21 12:15:48 UTC 2026.
  CHECK(format_queue_id(51, 1795263348LL * 1000000, true) == "4jWrl80000z10");
  CHECK(is_queue_id("0000001A2B"));
  CHECK(is_queue_id("4jWrl832c2z8RX6"));
  CHECK_FALSE(is_queue_id(""));
  CHECK_FALSE(is_queue_id("../../etc"));
  CHECK_FALSE(is_queue_id("A B"));
  CHECK_FALSE(is_queue_id(std::string(32, 'A')));
  CHECK(parse_queue_name("deferred") == QueueName::deferred);
  CHECK_FALSE(parse_queue_name("bogus"));
}

}  // namespace millrace::queue
