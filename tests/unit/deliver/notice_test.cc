#include "core/deliver/notice.h"

#include <catch2/catch.hpp>

using namespace millrace;
using namespace millrace::deliver;

namespace {
Notice bounce() {
  Notice n;
  n.host = "mx.mill.example";
  n.mail_name = "Mill";
  n.queue_id = "4NEW";
  n.to = "s@dest.example";
  n.now = 1'700'000'000'000'000;
  n.about_id = "4OLD";
  n.about_sender = "s@dest.example";
  n.about_arrival = 1'700'000'000'000'000;
  n.recipients.push_back({"norcpt@dest.example", "rfc822;norcpt@dest.example", "failed", "5.1.1",
                          "host 127.0.0.1[127.0.0.1] said: 550 5.1.1 unknown (in reply to RCPT TO command)",
                          "dns; 127.0.0.1", "smtp; 550-5.1.1 first\n550 5.1.1 unknown"});
  n.original = "Subject: test\r\n\r\nbody\r\n";
  return n;
}
}  // namespace

TEST_CASE("deliver notice: a bounce in Postfix's form", "[deliver][notice]") {
  const Notice n = bounce();
  const std::string date = rfc5322_date(n.now);
  CHECK(build_notice(n) ==
        "Received: by mx.mill.example (Mill)\r\n\tid 4NEW; " + date + "\r\nDate: " + date +
            "\r\nFrom: Mail Delivery System <MAILER-DAEMON@mx.mill.example>\r\n"
            "Subject: Undelivered Mail Returned to Sender\r\nTo: s@dest.example\r\nAuto-Submitted: auto-replied\r\n"
            "MIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=delivery-status;\r\n"
            "\tboundary=\"4OLD.1700000000/mx.mill.example\"\r\nContent-Transfer-Encoding: 8bit\r\n"
            "Message-Id: <20231114221320.4NEW@mx.mill.example>\r\n\r\nThis is a MIME-encapsulated message.\r\n"
            "\r\n--4OLD.1700000000/mx.mill.example\r\nContent-Description: Notification\r\n"
            "Content-Type: text/plain; charset=us-ascii\r\n\r\nThis is the mail system at host mx.mill.example.\r\n\r\n"
            "I'm sorry to have to inform you that your message could not\r\n"
            "be delivered to one or more recipients. It's attached below.\r\n\r\n"
            "For further assistance, please send mail to postmaster.\r\n\r\n"
            "If you do so, please include this problem report. You can\r\n"
            "delete your own text from the attached returned message.\r\n\r\n                   The mail system\r\n\r\n"
            "<norcpt@dest.example>: host 127.0.0.1[127.0.0.1] said: 550 5.1.1 unknown (in\r\n"
            "    reply to RCPT TO command)\r\n"
            "\r\n--4OLD.1700000000/mx.mill.example\r\nContent-Description: Delivery report\r\n"
            "Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.mill.example\r\n"
            "X-Mill-Queue-ID: 4OLD\r\nX-Mill-Sender: rfc822; s@dest.example\r\nArrival-Date: " + date +
            "\r\n\r\nFinal-Recipient: rfc822; norcpt@dest.example\r\n"
            "Original-Recipient: rfc822;norcpt@dest.example\r\nAction: failed\r\nStatus: 5.1.1\r\n"
            "Remote-MTA: dns; 127.0.0.1\r\nDiagnostic-Code: smtp; 550-5.1.1 first\r\n    550 5.1.1 unknown\r\n"
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
