// Against what Postfix 3.7.11's postqueue and postcat printed for the same messages.
#include "core/tools/queue_print.h"

#include <catch2/catch.hpp>
#include <cstdlib>
#include <ctime>

namespace millrace::tools {
namespace {

using queue::Listing;
using queue::QueueName;

const std::string kRefused = "connect to 127.0.0.1[127.0.0.1]:24920: Connection refused";

Listing deferred() {
  ::setenv("TZ", "UTC", 1);
  ::tzset();
  return {QueueName::deferred, "1229B11209D", 1795263242, 282, false, "s@a.test",
          {{"r1@b.test", kRefused}, {"r2@b.test", kRefused}}};
}

}  // namespace

TEST_CASE("queue print: postqueue -p, short ids", "[tools]") {
  CHECK(mailq_heading(false) == "-Queue ID-  --Size-- ----Arrival Time---- -Sender/Recipient-------\n");
  Listing listing = deferred();
  CHECK(mailq_entry(listing, false) ==
        "1229B11209D     282 Sat Nov 21 12:14:02  s@a.test\n"
        "                   (connect to 127.0.0.1[127.0.0.1]:24920: Connection refused)\n"
        "                                         r1@b.test\n"
        "                                         r2@b.test\n\n");
  listing.queue = QueueName::hold;
  listing.queue_id = "A932B1120A3";
  listing.size = 295;
  listing.sender = "";
  listing.recipients = {{"a b@c.test", kRefused}};
  CHECK(mailq_entry(listing, false) ==
        "A932B1120A3!     295 Sat Nov 21 12:14:02  MAILER-DAEMON\n"
        "                   (connect to 127.0.0.1[127.0.0.1]:24920: Connection refused)\n"
        "                                         \"a b\"@c.test\n\n");
  CHECK(mailq_summary(848, 3) == "-- 0 Kbytes in 3 Requests.\n");
  CHECK(mailq_summary(2048, 1) == "-- 2 Kbytes in 1 Request.\n");
  CHECK(mailq_summary(0, 0) == "Mail queue is empty\n");
}

TEST_CASE("queue print: postqueue -p, long ids", "[tools]") {
  Listing listing = deferred();
  listing.queue_id = "4jWrl91RBdz8RXS";
  listing.arrival_seconds = 1795263349;
  listing.size = 267;
  listing.recipients = {{"r1@d.test", kRefused}};
  CHECK(mailq_heading(true) == "----Queue ID----- --Size-- ---Arrival Time---- --Sender/Recipient------\n");
  const std::string rest =
      "       267 Sat Nov 21 12:15:49 s@a.test\n"
      "                   (connect to 127.0.0.1[127.0.0.1]:24920: Connection refused)\n"
      "                                               r1@d.test\n\n";
  CHECK(mailq_entry(listing, true) == "4jWrl91RBdz8RXS " + rest);
  listing.forced_expire = true;
  CHECK(mailq_entry(listing, true) == "4jWrl91RBdz8RXS#" + rest);
}

TEST_CASE("queue print: postqueue -j", "[tools]") {
  CHECK(json_entry(deferred()) ==
        "{\"queue_name\": \"deferred\", \"queue_id\": \"1229B11209D\", \"arrival_time\": 1795263242, "
        "\"message_size\": 282, \"forced_expire\": false, \"sender\": \"s@a.test\", \"recipients\": [{\"address\": "
        "\"r1@b.test\", \"delay_reason\": \"" + kRefused + "\"}, {\"address\": \"r2@b.test\", \"delay_reason\": \"" +
        kRefused + "\"}]}\n");
  Listing listing = deferred();
  listing.recipients = {{"a b@c.test", ""}};
  CHECK(json_entry(listing).find("\"recipients\": [{\"address\": \"\\\"a b\\\"@c.test\"}]}") != std::string::npos);
  CHECK(json_quote("a\"\\\n\x01") == "\"a\\\"\\\\\\n\\u0001\"");
}

TEST_CASE("queue print: addresses are quoted where they must be", "[tools]") {
  CHECK(quoted_address("a.b+c@d") == "a.b+c@d");
  CHECK(quoted_address("a..b@d") == "\"a..b\"@d");
  CHECK(quoted_address("a\"b@d") == "\"a\\\"b\"@d");
  CHECK(quoted_address("postmaster") == "postmaster");
  CHECK(quoted_address("@d") == "\"\"@d");
}

TEST_CASE("queue print: postcat's envelope", "[tools]") {
  queue::Entry entry;
  entry.queue = QueueName::deferred;
  entry.queued = 1795263242000000;
  mime::Envelope& e = entry.envelope;
  e.queue_id = "1229B11209D";
  e.sender = "s@a.test";
  e.envid = "abc";
  e.ret = mime::Ret::headers;
  e.body = mime::BodyType::eight_bit;
  e.size = 282;
  e.arrival = 1795263242000000;
  e.client_name = "localhost";
  e.protocol = "ESMTP";
  entry.recipients.push_back({{"r1@b.test", "r1@b.test", "rfc822;r1@b.test", 4}});
  entry.recipients.push_back({{"r2@b.test", "r2@b.test", "", 0}, true});
  deferred();   // the time zone
  CHECK(cat_envelope(entry) ==
        "*** ENVELOPE RECORDS deferred/1229B11209D ***\n"
        "message_size:             282               0               2               0             282               0\n"
        "message_arrival_time: Sat Nov 21 12:14:02 2026\n"
        "create_time: Sat Nov 21 12:14:02 2026\n"
        "named_attribute: log_ident=1229B11209D\n"
        "named_attribute: envelope_id=abc\n"
        "named_attribute: ret_flags=2\n"
        "sender: s@a.test\n"
        "named_attribute: encoding=8bit\n"
        "named_attribute: client_name=localhost\n"
        "named_attribute: protocol_name=ESMTP\n"
        "named_attribute: notify_flags=4\n"
        "named_attribute: dsn_orig_rcpt=rfc822;r1@b.test\n"
        "original_recipient: r1@b.test\n"
        "recipient: r1@b.test\n"
        "original_recipient: r2@b.test\n"
        "done_recipient: r2@b.test\n");
  CHECK(cat_end(entry) ==
        "*** HEADER EXTRACTED deferred/1229B11209D ***\n"
        "named_attribute: encoding=8bit\n"
        "*** MESSAGE FILE END deferred/1229B11209D ***\n");
}

TEST_CASE("queue print: postcat splits header and body, at any split of the input", "[tools]") {
  const std::string content = "Subject: two\r\n folded\r\nFrom: x\r\n\r\nbody: line\r\n\r\nend\r\n";
  const auto shown = [&](bool headers, bool body, std::size_t piece) {
    CatContent filter(headers, body);
    std::string out;
    for (std::size_t at = 0; at < content.size(); at += piece) filter.add(std::string_view(content).substr(at, piece), out);
    filter.finish(out);
    return out;
  };
  for (const std::size_t piece : {1u, 2u, 7u, 1000u}) {
    CHECK(shown(true, false, piece) == "Subject: two\n folded\nFrom: x\n");
    CHECK(shown(false, true, piece) == "\nbody: line\n\nend\n");
    CHECK(shown(true, true, piece) == "Subject: two\n folded\nFrom: x\n\nbody: line\n\nend\n");
  }
  CatContent filter(false, true);
  std::string out;
  filter.add("A: b\r\n\r\n", out);
  for (int i = 0; i < 1000; ++i) filter.add(std::string(1000, 'x'), out);
  CHECK(out.size() > 900000);   // a line without an end is not gathered
  filter.add("\r\nnext", out);
  filter.finish(out);
  CHECK(out == "\n" + std::string(1000000, 'x') + "\nnext\n");
}

}  // namespace millrace::tools
