#include "core/mime/builder.h"

#include <catch2/catch.hpp>

using namespace millrace;
using namespace millrace::mime;

namespace {

Message build(std::string_view text, std::size_t step = 1 << 20, BuilderLimits limits = {}) {
  MessageBuilder builder(limits, Body());
  for (std::size_t at = 0; at < text.size(); at += step) REQUIRE(builder.add(text.substr(at, step)));
  REQUIRE(builder.finish());
  return builder.take();
}

std::string dump(const Message& message) { return message.header_text() + message.body.memory(); }

}  // namespace

TEST_CASE("mime builder: any split gives the same message", "[mime][builder]") {
  const std::string text = "From a@b Mon\r\nSubject: x\r\n y\r\nX-Odd \t: v\r\nTo: z\r\n\r\nbody\r\n\r\nmore\r\n";
  const std::string want = "X-Mailbox-Line: From a@b Mon\r\nSubject: x\r\n y\r\nX-Odd: v\r\nTo: z\r\n\r\nbody\r\n\r\nmore\r\n";
  for (std::size_t step = 1; step <= text.size(); ++step) {
    CAPTURE(step);
    CHECK(dump(build(text, step)) == want);
  }
}

TEST_CASE("mime builder: what is no header begins the body", "[mime][builder]") {
  CHECK(dump(build("Subject: x\r\nnot a header\r\nbody\r\n")) == "Subject: x\r\n\r\nnot a header\r\nbody\r\n");
  CHECK(dump(build(" folded first\r\nSubject: x\r\n")) == "\r\n folded first\r\nSubject: x\r\n");
  CHECK(dump(build("")) == "\r\n");
  CHECK(dump(build("\r\n")) == "\r\n");
  CHECK(dump(build("Subject: cut")) == "Subject: cut\r\n\r\n");
  CHECK(dump(build(": x\r\n")) == "\r\n: x\r\n");
}

TEST_CASE("mime builder: a header over the limit loses its rest", "[mime][builder]") {
  BuilderLimits limits;
  limits.line_length = 10;
  limits.header_size = 25;
  const std::string text = "X-A: " + std::string(100, 'h') + "\r\n tail\r\nX-B: 1\r\n\r\n";
  for (const std::size_t step : {1u, 3u, 1000u}) {
    const Message message = build(text, step, limits);
    REQUIRE(message.headers.size() == 2);
    CHECK(message.headers[0].text() == "X-A: " + std::string(25, 'h'));   // the piece that reaches it is whole
    CHECK(message.headers[1].text() == "X-B: 1");
  }
}

TEST_CASE("mime builder: the header section is bounded", "[mime][builder]") {
  BuilderLimits limits;
  limits.header_section = 100;
  MessageBuilder builder(limits, Body());
  Result<void> result;
  for (int i = 0; i < 20 && result; ++i) result = builder.add("X-Header: value\r\n");
  REQUIRE_FALSE(result);
  CHECK(result.error().code == Errc::too_large);
  CHECK(builder.add("x").error().code == Errc::too_large);
}

TEST_CASE("mime header: values as their users want them", "[mime][message]") {
  const Header folded("Subject:  a\r\n\t b ", 7);
  CHECK(folded.name() == "Subject");
  CHECK(folded.raw_value() == "  a\r\n\t b ");
  CHECK(folded.milter_value(false) == " a\n\t b ");
  CHECK(folded.milter_value(true) == "  a\n\t b ");
  CHECK(folded.unfolded() == "a b");
  CHECK(Header::make("X", "a\n b\nc\r\n").text() == "X: a\r\n b\r\n\tc");
}

TEST_CASE("mime message: find skips our own Received", "[mime][message]") {
  Message message = build("Received: a\r\nreceived: b\r\n\r\n");
  message.headers[0].own_received = true;
  REQUIRE(message.find("RECEIVED"));
  CHECK(message.find("RECEIVED")->raw_value() == " b");
  CHECK(message.find("Received", 2) == nullptr);
  CHECK(message.size() == message.header_text().size());
}
