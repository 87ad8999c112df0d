// The milter codec: golden bytes, prefixes, round trips, splits.
#include <catch2/catch.hpp>

#include "core/milter/wire.h"

using namespace millrace::milter;
using namespace std::literals;

namespace {

std::string packet(char command, std::string_view data) {
  std::string out;
  encode(command, data, out);
  return out;
}

}  // namespace

TEST_CASE("milter wire: golden bytes", "[milter][wire]") {
  CHECK(packet('Q', "") == "\0\0\0\1Q"sv);
  CHECK(packet('H', "a.example\0"sv) == "\0\0\0\x0bHa.example\0"sv);
  std::string out = "before";
  PacketWriter(out, 'C').text("x.example").byte('4').u16(25).text("192.0.2.1");
  CHECK(out == "before\0\0\0\x18"
               "Cx.example\0"
               "4\0\x19"
               "192.0.2.1\0"sv);
  out.clear();
  encode_options({6, 0x1ff, 0x1fffff, {}}, out);
  CHECK(out == "\0\0\0\x0dO\0\0\0\6\0\0\1\xff\0\x1f\xff\xff"sv);
}

TEST_CASE("milter wire: every prefix needs more", "[milter][wire]") {
  const std::string whole = packet('L', "Subject\0one\0"sv);
  for (std::size_t n = 0; n < whole.size(); ++n) {
    CHECK(decode(std::string_view(whole).substr(0, n)).status == DecodeStatus::need_more);
  }
  const std::string more = whole + "rest";
  const Decoded decoded = decode(more);
  CHECK(decoded.status == DecodeStatus::ok);
  CHECK(decoded.consumed == whole.size());
  CHECK(decoded.packet.command == 'L');
  CHECK(decoded.packet.data == "Subject\0one\0"sv);
}

TEST_CASE("milter wire: a length over the limit is known at once, and none is no packet", "[milter][wire]") {
  CHECK(decode("\xff\xff\xff\xff").status == DecodeStatus::too_large);
  CHECK(decode("\0\0\0\x0a"sv, 9).status == DecodeStatus::too_large);
  CHECK(decode("\0\0\0\0"sv).status == DecodeStatus::empty);
}

TEST_CASE("milter wire: any split of a stream gives the same packets", "[milter][wire]") {
  const std::string stream = packet('c', "") + packet('h', "A\0b\0"sv) + packet('b', std::string(300, 'x')) + packet('a', "");
  for (std::size_t piece = 1; piece < 40; ++piece) {
    std::string buffer, seen;
    for (std::size_t at = 0; at < stream.size(); at += piece) {
      buffer += stream.substr(at, piece);
      for (;;) {
        const Decoded decoded = decode(buffer);
        if (decoded.status != DecodeStatus::ok) break;
        seen += packet(decoded.packet.command, decoded.packet.data);
        buffer.erase(0, decoded.consumed);
      }
    }
    CHECK(seen == stream);
  }
}

TEST_CASE("milter wire: options with macro lists survive the way", "[milter][wire]") {
  Options options{6, 0x3f, 0x80, {}};
  options.macros[static_cast<std::size_t>(MacroStage::mail)] = "i {mail_addr}";
  options.macros[static_cast<std::size_t>(MacroStage::end_of_message)] = "";
  std::string out;
  encode_options(options, out);
  const std::string_view payload = std::string_view(out).substr(kHeadLength);
  const auto back = decode_options(payload);
  REQUIRE(back);
  CHECK(back->version == 6);
  CHECK(back->actions == 0x3f);
  CHECK(back->protocol == 0x80);
  CHECK(back->macros == options.macros);
  for (std::size_t n = 0; n < payload.size(); ++n) {
    const auto cut = decode_options(payload.substr(0, n));
    CHECK(cut.has_value() == (n == 12 || n == 12 + 4 + 14));   // whole lists only
  }
  // A stage with an unknown number is left out.
  CHECK(decode_options("\0\0\0\6\0\0\0\0\0\0\0\0\0\0\0\x63xx\0"sv));
}

TEST_CASE("milter wire: reply texts", "[milter][wire]") {
  struct Case { std::string_view in; int code; std::string_view enhanced, text; };
  const auto c = GENERATE(values<Case>({
      {"550 5.7.1 no\0"sv, 550, "5.7.1", "no"},
      {"451 later\0"sv, 451, "", "later"},
      {"550-5.7.1 first\r\n550-5.7.1 second\r\n550 5.7.1 last\0"sv, 550, "5.7.1", "first\nsecond\nlast"},
      {"550 5.7.1 100%% sure, 50%x %\0"sv, 550, "5.7.1", "100% sure, 50x "},
      {"550\0"sv, 0, "", ""},
      {"550 \0"sv, 550, "", ""},
      {"550-5.7.1 a\r\n550 5.7.2 b\0"sv, 550, "", "5.7.1 a\n5.7.2 b"},
      {"550 5.7.1\0"sv, 550, "5.7.1", ""},
      {"421 4.3.0 bye\0"sv, 421, "4.3.0", "bye"},
      {"550 5.7.1 a\x01\rb\0"sv, 550, "5.7.1", "a??b"},
      {"250 2.0.0 ok\0"sv, 0, "", ""},
      {"550 4.7.1 class\0"sv, 0, "", ""},
      {"550-5.7.1 no end\r\n\0"sv, 0, "", ""},
      {"550-5.7.1 a\r\n551 5.7.1 b\0"sv, 0, "", ""},
      {"55\0"sv, 0, "", ""},
      {"550x\0"sv, 0, "", ""},
      {"\0"sv, 0, "", ""},
      {"550 5.7.1 no NUL"sv, 550, "5.7.1", "no NUL"},
      {"550 5.7.1 more\0x"sv, 550, "5.7.1", "more"},
  }));
  CAPTURE(c.in);
  const auto reply = parse_reply_text(c.in);
  REQUIRE(reply.has_value() == (c.code != 0));
  if (!reply) return;
  CHECK(reply->code == c.code);
  CHECK(reply->enhanced == c.enhanced);
  CHECK(reply->text == c.text);
}

TEST_CASE("milter wire: edits", "[milter][wire]") {
  const auto header = parse_header_edit("\0\0\0\2Subject\0new\0"sv, true);
  REQUIRE(header);
  CHECK(header->index == 2);
  CHECK(header->name == "Subject");
  CHECK(header->value == "new");
  CHECK_FALSE(parse_header_edit("\0\0\0\2Subject\0new"sv, true));
  CHECK_FALSE(parse_header_edit("Subject\0new\0x"sv, false));
  CHECK(parse_header_edit("\0new\0"sv, false)->name.empty());
  CHECK(parse_address_edit("<a@b>\0"sv, false)->address == "<a@b>");
  CHECK(parse_address_edit("<a@b>\0NOTIFY=NEVER\0"sv, true)->parameters == "NOTIFY=NEVER");
  CHECK_FALSE(parse_address_edit("<a@b>\0NOTIFY=NEVER\0"sv, false));
  CHECK_FALSE(parse_address_edit("<a@b>"sv, true));
}
