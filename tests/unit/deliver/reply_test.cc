#include "core/deliver/reply.h"

#include <catch2/catch.hpp>

#include "core/deliver/ehlo.h"

using namespace millrace::deliver;

namespace {
Reply parse(std::string_view wire) {
  ReplyParser parser;
  std::size_t used = 0;
  REQUIRE(parser.feed(wire, used) == ReplyParser::Status::complete);
  REQUIRE(used == wire.size());
  return parser.take();
}
}  // namespace

TEST_CASE("deliver reply: code, text and enhanced code", "[deliver][reply]") {
  struct Case {
    const char *wire, *text, *dsn;
    int code;
  };
  const auto c = GENERATE(values<Case>({
      {"250 2.1.0 Ok\r\n", "250 2.1.0 Ok", "2.1.0", 250},
      {"250\r\n", "250", "2.0.0", 250},
      {"550 plain refusal\n", "550 plain refusal", "5.0.0", 550},
      {"550-5.1.1 first line\r\n550 5.1.1 second line\r\n", "550-5.1.1 first line\n550 5.1.1 second line", "5.1.1", 550},
      {"450 5.1.1 wrong class\r\n", "450 5.1.1 wrong class", "4.0.0", 450},
      {"550 5.1.1x\r\n", "550 5.1.1x", "5.0.0", 550},
      {"550 5.1000.1 x\r\n", "550 5.1000.1 x", "5.0.0", 550},
  }));
  CAPTURE(c.wire);
  const Reply reply = parse(c.wire);
  CHECK(reply.code == c.code);
  CHECK(reply.text == c.text);
  CHECK(reply.dsn == c.dsn);
}

TEST_CASE("deliver reply: every prefix needs more, any split gives the same", "[deliver][reply]") {
  const std::string wire = "250-mx\r\n250-SIZE 10\r\n250 DSN\r\n";
  for (std::size_t cut = 0; cut < wire.size(); ++cut) {
    ReplyParser parser;
    std::size_t used = 0;
    CHECK(parser.feed(wire.substr(0, cut), used) == ReplyParser::Status::need_more);
    CHECK(used == cut);
    CHECK(parser.feed(wire.substr(cut) + "354 next", used) == ReplyParser::Status::complete);
    CHECK(used == wire.size() - cut);
    CHECK(parser.take().text == "250-mx\n250-SIZE 10\n250 DSN");
  }
}

TEST_CASE("deliver reply: what is no reply is invalid, and memory is bounded", "[deliver][reply]") {
  for (const char* bad : {"hello\r\n", "25 x\r\n", "199 x\r\n", "600 x\r\n", "250x\r\n", "\r\n"}) {
    ReplyParser parser;
    std::size_t used = 0;
    CAPTURE(bad);
    CHECK(parser.feed(bad, used) == ReplyParser::Status::invalid);
  }
  ReplyParser parser;
  std::size_t used = 0;
  ReplyParser::Status status = ReplyParser::Status::need_more;
  const std::string line = "250-" + std::string(5000, 'x') + "\r\n";
  for (int i = 0; i < 1000 && status == ReplyParser::Status::need_more; ++i) status = parser.feed(line, used);
  CHECK(status == ReplyParser::Status::invalid);
}

TEST_CASE("deliver ehlo: keywords in any case, unknown ones passed over", "[deliver][ehlo]") {
  const Features f = parse_ehlo(parse("250-sink.example hello\r\n250-pipelining\r\n250-SIZE 20480000\r\n250-8BITMIME\r\n"
                                      "250-X-OTHER a b\r\n250-AUTH=PLAIN\r\n250 STARTTLS\r\n"), "mx.mill.example", {"8bitmime"});
  CHECK(f.pipelining);
  CHECK(f.size);
  CHECK(f.size_limit == 20480000);
  CHECK_FALSE(f.eight_bit);
  CHECK(f.starttls);
  CHECK_FALSE(f.dsn);
  CHECK_FALSE(f.own_name);
  CHECK(parse_ehlo(parse("250 MX.mill.example\r\n"), "mx.mill.example", {}).own_name);
}
