#include "core/smtp/reply.h"

#include <catch2/catch.hpp>

using namespace millrace::smtp;

TEST_CASE("smtp reply: wire form", "[smtp][reply]") {
  CHECK(Reply(250, "2.1.0", "Ok").wire() == "250 2.1.0 Ok\r\n");
  CHECK(Reply(250, "", "mx\nPIPELINING\nSIZE 10").wire() == "250-mx\r\n250-PIPELINING\r\n250 SIZE 10\r\n");
  CHECK(Reply(550, "5.7.1", "first\r\nsecond").wire() == "550-5.7.1 first\r\n550 5.7.1 second\r\n");
  CHECK(Reply(550, "5.7.1", std::string("a\0b\rc", 5)).wire() == "550 5.7.1 a?b?c\r\n");
  CHECK(Reply(250, "", "").wire() == "250 \r\n");
}

TEST_CASE("smtp reply: lines are bounded and never cut a character", "[smtp][reply]") {
  std::string text;
  for (int i = 0; i < 300; ++i) text += "é";
  const std::string wire = Reply(550, "5.7.1", "x" + text).wire();
  CHECK(wire.size() <= 512);
  CHECK(wire.size() >= 510);
  CHECK(static_cast<unsigned char>(wire[wire.size() - 3]) == 0xA9);
}

TEST_CASE("smtp reply: soft bounce and closing codes", "[smtp][reply]") {
  Reply reply(554, "5.7.1", "no");
  soften(reply);
  CHECK(reply.wire() == "454 4.7.1 no\r\n");
  CHECK(Reply(421, "4.7.0", "x").closes());
  CHECK(Reply(521, "5.5.4", "x").closes());
  CHECK_FALSE(Reply(221, "2.0.0", "Bye").closes());
}

TEST_CASE("smtp reply: footers go on or begin a line", "[smtp][reply]") {
  Reply reply(554, "5.7.1", "no");
  append_footer(reply, "\\c; see x\\n second");
  CHECK(reply.wire() == "554-5.7.1 no; see x\r\n554 5.7.1  second\r\n");
  Reply other(454, "4.7.1", "no");
  append_footer(other, "call us");
  CHECK(other.wire() == "454-4.7.1 no\r\n454 4.7.1 call us\r\n");
  CHECK(other.one_line() == "454 4.7.1 no");
}
