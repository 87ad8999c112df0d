#include "core/map/remote_wire.h"

#include <catch2/catch.hpp>

using namespace millrace;
using namespace millrace::map;
using Status = RemoteReply::Status;

namespace {
std::string told(const RemoteReply& reply) {
  const char* names[] = {"more", "malformed", "too large", "found", "not found", "failed"};
  return std::string(names[static_cast<int>(reply.status)]) + "|" + reply.text + "|" + std::to_string(reply.consumed);
}
}  // namespace

TEST_CASE("socketmap wire: golden bytes", "[map][remote]") {
  CHECK(socketmap_request("m", "a@b") == "5:m a@b,");
  CHECK(socketmap_request("virtual", "") == "8:virtual ,");
  struct Case { const char *wire, *told; };
  const auto one = GENERATE(values<Case>({
      {"8:OK a b c,", "found|a b c|11"}, {"3:OK ,", "found||6"}, {"2:OK,", "not found||5"}, {"9:NOTFOUND ,", "not found||12"},
      {"8:NOTFOUND,", "not found||11"}, {"8:TEMP why,", "failed|TEMP why|11"}, {"4:PERM,", "failed|PERM|7"},
      {"10:TIMEOUT x ,", "failed|TIMEOUT x |14"}, {"3:HUH,", "malformed|HUH|6"}, {"0:,", "malformed||3"},
      {"4:OK x;", "malformed|OK x|7"}, {"x", "malformed|x|0"}, {":,", "malformed|:,|0"}, {"-1:", "malformed|-1:|0"},
      {"100001:", "too large||0"}, {"999999999:", "too large||0"}, {"9999999999", "too large||0"}, {"222222222", "too large||0"}, {"000000001", "more||0"}, {"0000000001:", "malformed|0000000001:|0"},
      {"4:OK x,more", "found|x|7"}}));
  CAPTURE(one.wire);
  CHECK(told(parse_socketmap_reply(one.wire)) == one.told);
}

TEST_CASE("socketmap wire: every prefix needs more, nothing holds a NUL", "[map][remote]") {
  const std::string whole = "12:OK some text,";
  for (std::size_t n = 0; n < whole.size(); ++n) CHECK(parse_socketmap_reply(whole.substr(0, n)).status == Status::need_more);
  CHECK(parse_socketmap_reply(whole).status == Status::found);
  CHECK(parse_socketmap_reply(std::string("5:OK \0x,", 8)).status == Status::malformed);
  const std::string largest = "100000:OK " + std::string(kSocketmapReplyLimit - 3, 'x') + ",";
  CHECK(parse_socketmap_reply(largest).text.size() == kSocketmapReplyLimit - 3);
}

TEST_CASE("tcp wire: golden bytes", "[map][remote]") {
  CHECK(tcp_request("a b%c\n\xc3") == "get a%20b%25c%0a%c3\n");
  struct Case { const char *wire, *told; };
  const auto one = GENERATE(values<Case>({
      {"200 a%20b\n", "found|a b|10"}, {"200 a b\n", "found|a b|8"}, {"200\n", "found||4"}, {"500 no\n", "not found||7"},
      {"400 later%0a\n", "failed|later\n|13"}, {"300 x\n", "malformed|300 x|6"}, {"20 x\n", "malformed|20 x|5"},
      {"2000 x\n", "malformed|2000 x|7"}, {"200 %2\n", "malformed|200 %2|7"}, {"200 %zz\n", "malformed|200 %zz|8"},
      {"\n", "malformed||1"}, {"200 %00\n", "malformed|" , }}));
  CAPTURE(one.wire);
  CHECK(told(parse_tcp_reply(one.wire)).substr(0, std::string(one.told).size()) == one.told);
}

TEST_CASE("tcp wire: every prefix needs more, up to the limit", "[map][remote]") {
  const std::string whole = "200 some%20text\n";
  for (std::size_t n = 0; n < whole.size(); ++n) CHECK(parse_tcp_reply(whole.substr(0, n)).status == Status::need_more);
  CHECK(parse_tcp_reply("200 " + std::string(kTcpReplyLimit - 5, 'x') + "\n").status == Status::found);
  CHECK(parse_tcp_reply("200 " + std::string(kTcpReplyLimit - 4, 'x') + "\n").status == Status::too_large);
  CHECK(parse_tcp_reply("200 " + std::string(kTcpReplyLimit - 4, 'x')).status == Status::too_large);
}
