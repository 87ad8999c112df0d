#include "core/deliver/notice.h"

#include <catch2/catch.hpp>

using namespace millrace;
using namespace millrace::deliver;

namespace {
const Template kForm = {"us-ascii", "Mail Delivery System <MAILER-DAEMON>", "Undelivered Mail", "Copy: Undelivered Mail",
                        "It is attached.\r\n"};

Notice bounce() {
  Notice n;
  n.form = &kForm;
  n.utf8_texts = false;
  n.host = "mx.mill.example";
  n.mail_name = "Mill";
  n.queue_id = "4NEW";
  n.to = "s@dest.example";
  n.now = 1'700'000'000'000'000;
  n.about_id = "4OLD";
  n.about_sender = "s@dest.example";
  n.about_arrival = 1'700'000'000'000'000;
  n.recipients.push_back({"norcpt@dest.example", "", "rfc822;norcpt@dest.example", "failed", "5.1.1",
                          "host 127.0.0.1[127.0.0.1] said: 550 5.1.1 unknown (in reply to RCPT TO command)",
                          "dns; 127.0.0.1", "smtp; 550-5.1.1 first\n550 5.1.1 unknown", 0});
  n.original = "Subject: test\r\n\r\nbody\r\n";
  return n;
}
}  // namespace

TEST_CASE("deliver notice: a bounce in Postfix's form", "[deliver][notice]") {
  const Notice n = bounce();
  const std::string date = rfc5322_date(n.now);
  CHECK(build_notice(n) ==
        "Received: by mx.mill.example (Mill)\r\n\tid 4NEW; " + date + "\r\nDate: " + date +
            "\r\nFrom: Mail Delivery System <MAILER-DAEMON>\r\n"
            "Subject: Undelivered Mail\r\nTo: s@dest.example\r\nAuto-Submitted: auto-replied\r\n"
            "MIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=delivery-status;\r\n"
            "\tboundary=\"4OLD.1700000000/mx.mill.example\"\r\nContent-Transfer-Encoding: 7bit\r\n"
            "Message-Id: <20231114221320.4NEW@mx.mill.example>\r\n\r\nThis is a MIME-encapsulated message.\r\n"
            "\r\n--4OLD.1700000000/mx.mill.example\r\nContent-Description: Notification\r\n"
            "Content-Type: text/plain; charset=us-ascii\r\n\r\nIt is attached.\r\n\r\n"
            "<norcpt@dest.example>: host 127.0.0.1[127.0.0.1] said: 550 5.1.1 unknown (in\r\n"
            "    reply to RCPT TO command)\r\n"
            "\r\n--4OLD.1700000000/mx.mill.example\r\nContent-Description: Delivery report\r\n"
            "Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.mill.example\r\n"
            "X-Mill-Queue-ID: 4OLD\r\nX-Mill-Sender: rfc822; s@dest.example\r\nArrival-Date: " + date +
            "\r\n\r\nFinal-Recipient: rfc822; norcpt@dest.example\r\n"
            "Original-Recipient: rfc822;norcpt@dest.example\r\nAction: failed\r\nStatus: 5.1.1\r\n"
            "Remote-MTA: dns; 127.0.0.1\r\nDiagnostic-Code: smtp; 550-5.1.1 first 550 5.1.1 unknown\r\n"
            "\r\n--4OLD.1700000000/mx.mill.example\r\nContent-Description: Undelivered Message\r\n"
            "Content-Type: message/rfc822\r\n\r\nReturn-Path: <s@dest.example>\r\nSubject: test\r\n\r\nbody\r\n"
            "\r\n--4OLD.1700000000/mx.mill.example--\r\n");
}

TEST_CASE("deliver notice: what a peer wrote cannot add header fields", "[deliver][notice]") {
  Notice n = bounce();
  n.recipients[0].original = "rfc822;a\r\nX-Evil: 1";
  n.recipients[0].diagnostic = "smtp; 550 a\rX-Evil: 2";
  n.to = "s@dest.example\r\nX-Evil: 3";
  n.about_envid = "id\nX-Evil: 4";
  CHECK(build_notice(n).find("\nX-Evil") == std::string::npos);
  CHECK(build_notice(n).find("\rX-Evil") == std::string::npos);
}

TEST_CASE("deliver notice: words are wrapped", "[deliver][notice]") {
  CHECK(wrap("aaa bbb ccc", 7, 2) == "aaa bbb\r\n  ccc\r\n");
  CHECK(wrap("aaaaaaaaaaaa b", 7, 2) == "aaaaaaaaaaaa\r\n  b\r\n");
}

TEST_CASE("deliver notice: a copy for the postmaster refers to the message and says from where it was expanded", "[deliver][notice]") {
  Notice n = bounce();
  n.to_postmaster = true;
  n.headers_only = true;
  n.thread_id = "<m@x>";
  n.recipients[0].expanded_from = "alias@dest.example";
  const std::string text = build_notice(n);
  CHECK(text.find("\r\nSubject: Copy: Undelivered Mail\r\nTo: s@dest.example\r\nReferences: <m@x>\r\nIn-Reply-To: <m@x>\r\n"
                  "Auto-Submitted: auto-generated\r\n") != std::string::npos);
  CHECK(text.find("charset=us-ascii\r\n\r\n\r\n<norcpt@dest.example> (expanded from <alias@dest.example>): host\r\n    127") !=
        std::string::npos);
  CHECK(text.find("Undelivered Message Headers\r\nContent-Type: text/rfc822-headers\r\n\r\nReturn-Path:") != std::string::npos);
}

TEST_CASE("deliver notice: addresses beyond ASCII are of type utf-8", "[deliver][notice]") {
  Notice n = bounce();
  n.smtputf8 = true;
  n.about_sender = "s\xc3\xbc@dest.example";
  n.recipients[0].address = "b\xc3\xb6" "d@dest.example";
  n.recipients[0].action = "delayed";
  n.recipients[0].retry_until = n.now;
  const std::string text = build_notice(n);
  CHECK(text.find("charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nIt is") != std::string::npos);
  CHECK(text.find("message/global-delivery-status\r\nContent-Transfer-Encoding: 8bit\r\n") != std::string::npos);
  CHECK(text.find("X-Mill-Sender: utf-8; s\xc3\xbc@dest.example\r\n") != std::string::npos);
  CHECK(text.find("Final-Recipient: utf-8; b\xc3\xb6" "d@dest.example\r\n") != std::string::npos);
  CHECK(text.find("unknown\r\nWill-Retry-Until: " + rfc5322_date(n.now) + "\r\n") != std::string::npos);
}

TEST_CASE("deliver notice: the Message-ID of what failed", "[deliver][notice]") {
  CHECK(message_id_of("Subject: a\r\nMESSAGE-ID: <m@x>\r\nMessage-Id: <other>\r\n") == "<m@x>");
  CHECK(message_id_of("Message-Id:\r\n <folded@x>\r\n\r\n") == "<folded@x>");
  CHECK(message_id_of("Subject: a\r\n\r\nMessage-Id: <body>\r\n").empty());
  CHECK(message_id_of("").empty());
}
