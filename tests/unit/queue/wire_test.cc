#include "core/queue/wire.h"

#include <catch2/catch.hpp>

#include "core/queue/control_wire.h"

namespace millrace::queue {

using namespace wire;

TEST_CASE("queue wire: a submission as bytes", "[queue]") {
  std::string out;
  put_submit({300, false, "env", "body"}, out);
  CHECK(out == std::string("\x0d\0\0\0\x01\xac\x02\0\x03" "env\x04" "body", 17));
  const Frame frame = decode(out);
  REQUIRE(frame.status == DecodeStatus::ok);
  CHECK(frame.consumed == out.size());
  Submit submit;
  REQUIRE(parse(frame.payload, submit));
  CHECK(submit.request == 300);
  CHECK_FALSE(submit.has_descriptor);
  CHECK(submit.envelope == "env");
  CHECK(submit.content == "body");
}

TEST_CASE("queue wire: every prefix needs more, two frames come one by one", "[queue]") {
  std::string bytes;
  put_reserve({1, 1024}, bytes);
  const std::size_t first = bytes.size();
  put_submitted(2, fail(Errc::no_space, "full"), bytes);
  for (std::size_t length = 0; length < first; ++length) {
    CHECK(decode(std::string_view(bytes).substr(0, length)).status == DecodeStatus::need_more);
  }
  CHECK(decode(bytes).consumed == first);
  const Frame second = decode(std::string_view(bytes).substr(first));
  Answer answer;
  REQUIRE(parse_answer(second.type, second.payload, answer));
  CHECK(answer.request == 2);
  CHECK_FALSE(answer.ok);
  CHECK(answer.code == Errc::no_space);
  CHECK(answer.text == "full");
}

TEST_CASE("queue wire: questions about addresses and their answers", "[queue]") {
  std::string bytes;
  put_verify({7, 6, "a@b"}, bytes);
  Verify asked;
  REQUIRE(parse(decode(bytes).payload, asked));
  CHECK(asked.request == 7);
  CHECK(asked.wait_s == 6);
  CHECK(asked.address == "a@b");
  bytes.clear();
  put_verified(7, smtp::Verified{smtp::Verified::Status::bounced, "no"}, bytes);
  Answer answer;
  REQUIRE(parse_answer(Type::verified, decode(bytes).payload, answer));
  CHECK(answer.ok);
  CHECK(answer.what == static_cast<std::uint8_t>(smtp::Verified::Status::bounced));
  CHECK(answer.text == "no");
  bytes.clear();
  put_verified(7, fail(Errc::limit, "busy"), bytes);
  REQUIRE(parse_answer(Type::verified, decode(bytes).payload, answer));
  CHECK_FALSE(answer.ok);
  CHECK(answer.text == "busy");
  bytes[7] = 9;   // no such status
  CHECK_FALSE(parse_answer(Type::verified, decode(bytes).payload, answer));
}

TEST_CASE("queue wire: lengths of nothing or too much are refused at once", "[queue]") {
  CHECK(decode(std::string_view("\0\0\0\0", 4)).status == DecodeStatus::too_large);
  CHECK(decode(std::string_view("\xff\xff\xff\xff", 4)).status == DecodeStatus::too_large);
}

TEST_CASE("queue wire: reserved numbers and lists of strings", "[queue]") {
  std::string bytes;
  put_reserved(9, std::uint64_t{1} << 40, bytes);
  Answer answer;
  const Frame frame = decode(bytes);
  REQUIRE(parse_answer(frame.type, frame.payload, answer));
  CHECK(answer.ok);
  CHECK(answer.first == std::uint64_t{1} << 40);
  const Strings before{"", "a", std::string(1000, 'x')};
  bytes.clear();
  put_strings(Type::item, before, bytes);
  Strings after;
  REQUIRE(parse_strings(decode(bytes).payload, after));
  CHECK(after == before);
  CHECK_FALSE(parse_strings("\x05", after));
}

TEST_CASE("queue control: a listing with many recipients comes back whole", "[queue]") {
  Listing listing;
  listing.queue = QueueName::deferred;
  listing.queue_id = "ABC";
  listing.arrival_seconds = 42;
  listing.size = 7;
  listing.sender = "s@x";
  for (int i = 0; i < 2500; ++i) listing.recipients.push_back({std::to_string(i), "why"});
  const std::vector<Strings> items = encode_listing(listing);
  CHECK(items.size() == 3);
  std::vector<Listing> out;
  for (const Strings& item : items) REQUIRE(decode_listing(item, out));
  REQUIRE(out.size() == 1);
  CHECK(out[0].recipients.size() == 2500);
  CHECK(out[0].recipients[2400].address == "2400");
  CHECK(out[0].arrival_seconds == 42);
  CHECK_FALSE(decode_listing({"more"}, out));
}

}  // namespace millrace::queue
