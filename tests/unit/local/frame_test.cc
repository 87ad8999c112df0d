#include "core/local/frame.h"

#include <catch2/catch.hpp>

using namespace millrace::local;

namespace {
Request sample() {
  Request out;
  out.id = 0x01020304;
  out.kind = TaskKind::pipe;
  out.service = "spam";
  out.add(Tag::sender, "a@b");
  out.add(Tag::recipient, "");
  return out;
}
}  // namespace

TEST_CASE("command frames: golden bytes and back", "[local][frame]") {
  std::string bytes;
  REQUIRE(encode(sample(), bytes));
  CHECK(bytes == std::string("\x01Q\x04\x03\x02\x01\x01\x04spam\x02\x01\x03" "a@b\x0d\x00", 20));
  const auto back = decode_request(bytes);
  REQUIRE(back);
  CHECK((back->id == 0x01020304 && back->service == "spam" && back->values == sample().values));
  CHECK(back->value(Tag::sender) == "a@b");
  CHECK(back->value(Tag::domain).empty());

  std::string answer;
  encode(Answer{7, Answer::Ending::refused, 256, "why"}, answer);
  const auto answered = decode_answer(answer);
  REQUIRE(answered);
  CHECK((answered->id == 7 && answered->ending == Answer::Ending::refused && answered->wait_status == 256 && answered->text == "why"));
}

TEST_CASE("command frames: no prefix and no tail passes", "[local][frame]") {
  std::string bytes, answer;
  REQUIRE(encode(sample(), bytes));
  encode(Answer{7, Answer::Ending::ended, 0, "x"}, answer);
  for (std::size_t n = 0; n < bytes.size(); ++n) CHECK_FALSE(decode_request(bytes.substr(0, n)));
  for (std::size_t n = 0; n < answer.size(); ++n) CHECK_FALSE(decode_answer(answer.substr(0, n)));
  CHECK_FALSE(decode_request(bytes + "x"));
  CHECK_FALSE(decode_answer(answer + "x"));
  CHECK_FALSE(decode_request(answer));
}

TEST_CASE("command frames: what cannot be an argument, or is too much, is refused", "[local][frame]") {
  std::string out;
  Request nul = sample();
  nul.add(Tag::user, std::string_view("a\0b", 3));
  CHECK_FALSE(encode(nul, out));
  Request large = sample();
  for (int i = 0; i < 200; ++i) large.add(Tag::recipient, std::string(1000, 'x'));
  CHECK_FALSE(encode(large, out));
  CHECK(out.empty());
  // The same from somebody who does not keep the rules.
  const std::string head("\x01Q\x04\x03\x02\x01\x01\x01s", 9);
  CHECK_FALSE(decode_request(head + std::string("\x01\x01\x01\x00", 4)));        // a NUL
  CHECK_FALSE(decode_request(head + std::string("\x01\x00\x01x", 4)));           // tag 0
  CHECK_FALSE(decode_request(head + std::string("\x01\x7f\x01x", 4)));           // tag 127
  CHECK_FALSE(decode_request(head + std::string("\xff\xff\xff\xff\x0f", 5)));    // a count without values
  CHECK_FALSE(decode_request(std::string("\x01Q\x04\x03\x02\x01\x09\x01s\x00", 10)));   // a kind that is none
}
