#include "core/mime/cleanup.h"

#include <catch2/catch.hpp>

#include "core/mime/builder.h"
#include "core/mime/received.h"

using namespace millrace;
using namespace millrace::mime;

namespace {
Message parse(std::string_view text) {
  MessageBuilder builder({}, Body());
  REQUIRE(builder.add(text));
  REQUIRE(builder.finish());
  return builder.take();
}
constexpr WallMicros kWhen = 978307200'000000;   // 2001-01-01 00:00:00 UTC
}  // namespace

TEST_CASE("mime cleanup: headers to drop are dropped", "[mime][cleanup]") {
  HeaderPolicy policy;
  policy.drop = parse_header_names("bcc, content-length, resent-bcc, return-path");
  Message message = parse("Return-Path: <a>\r\nBCC: b\r\nTo: c\r\nMessage-ID: <m@x>\r\n\r\n");
  std::vector<std::string> log;
  apply_header_policy(message, policy, "ABC", "a@b", kWhen, log);
  CHECK(message.header_text() == "To: c\r\nMessage-ID: <m@x>\r\n\r\n");
  CHECK(log == std::vector<std::string>{"message-id=<m@x>"});
}

TEST_CASE("mime cleanup: missing headers are added for local clients", "[mime][cleanup]") {
  HeaderPolicy policy;
  policy.add_missing = true;
  policy.host = "mx.example";
  Message message = parse("Subject: x\r\n\r\n");
  std::vector<std::string> log;
  apply_header_policy(message, policy, "ABC", "", kWhen, log);
  CHECK(message.header_text() == "Subject: x\r\nMessage-Id: <20010101000000.ABC@mx.example>\r\nDate: " +
                                     rfc5322_date(kWhen) + "\r\nFrom: MAILER-DAEMON\r\n\r\n");
  CHECK(log == std::vector<std::string>{"message-id=<20010101000000.ABC@mx.example>"});
}

TEST_CASE("mime cleanup: without a visible recipient there is a header for that", "[mime][cleanup]") {
  HeaderPolicy policy;
  policy.add_missing = true;
  policy.undisclosed_recipients = "To: undisclosed-recipients:;";
  for (const char* text : {"Bcc: x\r\n\r\n", "Resent-Cc: y\r\n\r\n"}) {
    Message message = parse(text);
    std::vector<std::string> log;
    apply_header_policy(message, policy, "ABC", "a@b", kWhen, log);
    CHECK((message.find("To") != nullptr) == (text[0] == 'B'));
  }
}

TEST_CASE("mime cleanup: remote mail without an id is logged so", "[mime][cleanup]") {
  Message message = parse("Subject: x\r\n\r\n");
  std::vector<std::string> log;
  apply_header_policy(message, {}, "ABC", "", kWhen, log);
  CHECK(message.header_text() == "Subject: x\r\n\r\n");
  CHECK(log == std::vector<std::string>{"message-id=<>"});
}

TEST_CASE("mime cleanup: character sets take C escapes", "[mime][cleanup]") {
  const CharacterSet set("\\0\\177\\t");
  CHECK(set.in(std::string_view("a\0b", 3)));
  CHECK(set.in("a\tb"));
  CHECK_FALSE(set.in("ab"));
  std::string text("a\0b\x7F" "c", 5);
  set.strip(text);
  CHECK(text == "abc");
}

TEST_CASE("mime received: as Postfix writes it", "[mime][received]") {
  ReceivedFacts facts;
  facts.helo = "client.example";
  facts.client_name = "client.example";
  facts.client_address = "192.0.2.10";
  facts.protocol = "ESMTPS";
  facts.tls = "(using TLSv1.3 with cipher X (256/256 bits))\n\t(No client certificate requested)";
  facts.host = "mx.example";
  facts.mail_name = "Millrace";
  facts.queue_id = "ABC";
  facts.recipient = "b@dest.example";
  facts.when = kWhen;
  CHECK(make_received(facts).text() ==
        "Received: from client.example (client.example [192.0.2.10])\r\n"
        "\t(using TLSv1.3 with cipher X (256/256 bits))\r\n\t(No client certificate requested)\r\n"
        "\tby mx.example (Millrace) with ESMTPS id ABC\r\n\tfor <b@dest.example>; " + rfc5322_date(kWhen));
  facts.recipient.clear();
  facts.tls.clear();
  CHECK(make_received(facts).text() ==
        "Received: from client.example (client.example [192.0.2.10])\r\n"
        "\tby mx.example (Millrace) with ESMTPS id ABC;\r\n\t" + rfc5322_date(kWhen));
}
