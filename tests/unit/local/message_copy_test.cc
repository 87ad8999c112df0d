#include "core/local/message_copy.h"

#include <catch2/catch.hpp>

using namespace millrace::local;

namespace {
std::string copied(const CopyOptions& options, std::string_view text, std::size_t step) {
  MessageCopy copy(options);
  std::string out;
  copy.begin(out);
  for (std::size_t at = 0; at < text.size(); at += step) copy.feed(text.substr(at, step), out);
  copy.finish(out);
  return out;
}
}  // namespace

TEST_CASE("message copy: any split gives the same text", "[local][copy]") {
  CopyOptions options;
  options.quote_from = options.dot = true;
  const std::string text = "Subject: x\r\n\r\nFrom me\r\nFro\r\nFrom\r\n>From\r\n.\r\n..a\r\nFFrom \r\na\rb\r\r\n\r\nend\r\n";
  const std::string wanted = "Subject: x\n\n>From me\nFro\nFrom\n>From\n..\n...a\nFFrom \na\rb\r\n\nend\n";
  for (const std::size_t step : {1, 2, 3, 5, 7, 11, 1000}) {
    CAPTURE(step);
    CHECK(copied(options, text, step) == wanted);
  }
}

TEST_CASE("message copy: what stands on top, and a line that was open", "[local][copy]") {
  CopyOptions options;
  options.from_line = options.return_path = options.original_to = options.delivered_to = options.blank_line = true;
  options.sender = "a@b";
  options.original = "o@x";
  options.delivered = "d@x";
  options.when = 0;
  ::setenv("TZ", "UTC", 1);
  CHECK(copied(options, "x", 1) ==
        "From a@b  Thu Jan  1 00:00:00 1970\nReturn-Path: <a@b>\nX-Original-To: o@x\nDelivered-To: d@x\nx\n\n");
  options = {};
  options.eol = "\r\n";
  CHECK(copied(options, "a\r\nb\r\n", 100) == "a\r\nb\r\n");
  options.from_line = true;
  CHECK(copied(options, "", 1).starts_with("From MAILER-DAEMON  "));
}

TEST_CASE("message copy: Delivered-To is found in the headers alone", "[local][copy]") {
  const std::string head = "Subject: x\r\nDELIVERED-TO:  User@Dest.example \r\nX: y\r\n";
  CHECK(has_delivered_to(head, "user@dest.example"));
  CHECK_FALSE(has_delivered_to(head, "ser@dest.example"));
  CHECK_FALSE(has_delivered_to("Subject: x\r\n\r\nDelivered-To: user@dest.example\r\n", "user@dest.example"));
  CHECK(has_delivered_to("Delivered-To: \"a b\"@dest.example\r\n", "a b@dest.example"));
}
