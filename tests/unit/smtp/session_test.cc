// Conversations: commands, envelope, content, TLS.  Texts and codes are those of Postfix 3.7.
#include <catch2/catch.hpp>

#include "tests/support/conversation.h"

using namespace millrace;
using namespace millrace::test;

namespace {
const std::string kEhlo =
    "250-mx.example\r\n250-PIPELINING\r\n250-SIZE 10240000\r\n250-VRFY\r\n250-ETRN\r\n250-ENHANCEDSTATUSCODES\r\n"
    "250-8BITMIME\r\n250-DSN\r\n250-SMTPUTF8\r\n250 CHUNKING\r\n";
const std::string kGreeting = "220 mx.example ESMTP\r\n";
const std::string kBye = "221 2.0.0 Bye\r\n";
const std::string kData = "354 End data with <CR><LF>.<CR><LF>\r\n";
const std::string kOk = "250 2.0.0 Ok\r\n", kMailOk = "250 2.1.0 Ok\r\n", kRcptOk = "250 2.1.5 Ok\r\n";
}  // namespace

TEST_CASE("smtp session: one message, its log and what is stored", "[smtp][session]") {
  Conversation talk;
  CHECK(talk({"EHLO client.example", "MAIL FROM:<a@sender.example> SIZE=10", "RCPT TO:<b@dest.example>", "DATA",
              "Subject: one\r\nMessage-Id: <x@y>\r\nBcc: secret\r\n\r\n..dot\r\nbody\r\n.", "QUIT"}) ==
        kGreeting + kEhlo + kMailOk + kRcptOk + kData + "250 2.0.0 Ok: queued as ID1\r\n" + kBye);
  CHECK(talk.log ==
        "connect from unknown[192.0.2.10]\nID1: client=unknown[192.0.2.10]\ncleanup ID1: message-id=<x@y>\n"
        "disconnect from unknown[192.0.2.10] ehlo=1 mail=1 rcpt=1 data=1 quit=1 commands=5\n");
  REQUIRE(talk.sink.stored.size() == 1);
  const StoredMessage& stored = talk.sink.stored[0];
  CHECK(stored.body == ".dot\r\nbody\r\n");
  CHECK(stored.headers == "Received: from client.example (unknown [192.0.2.10])\r\n\tby mx.example (Mill) with ESMTP id ID1\r\n"
                          "\tfor <b@dest.example>; " + rfc5322_date(stored.envelope.arrival) +
                              "\r\nSubject: one\r\nMessage-Id: <x@y>\r\n\r\n");
  CHECK(stored.envelope.sender == "a@sender.example");
  CHECK(stored.envelope.recipients.at(0).orcpt == "rfc822;b@dest.example");
  CHECK(stored.envelope.size == stored.headers.size() + stored.body.size());
  CHECK(talk.filter->aborts == 1);
}

TEST_CASE("smtp session: commands out of order", "[smtp][session]") {
  Conversation talk;
  CHECK(talk({"RCPT TO:<b@dest.example>", "DATA", "MAIL", "MAIL TO:<x@y>", "MAIL FROM:<a@b>", "MAIL FROM:<c@d>", "DATA",
              "RCPT", "RCPT FROM:<x>", "RSET now", "RSET", "NOOP x", "FOO", "", "VRFY", "HELO", "EHLO", "HELP", "AUTH PLAIN x",
              "STARTTLS", "QUIT now"}) ==
        kGreeting + "503 5.5.1 Error: need MAIL command\r\n503 5.5.1 Error: need RCPT command\r\n"
        "501 5.5.4 Syntax: MAIL FROM:<address>\r\n501 5.5.4 Syntax: MAIL FROM:<address>\r\n" + kMailOk +
        "503 5.5.1 Error: nested MAIL command\r\n554 5.5.1 Error: no valid recipients\r\n"
        "501 5.5.4 Syntax: RCPT TO:<address>\r\n501 5.5.4 Syntax: RCPT TO:<address>\r\n501 5.5.4 Syntax: RSET\r\n" + kOk + kOk +
        "500 5.5.2 Error: command not recognized\r\n500 5.5.2 Error: bad syntax\r\n"
        "501 5.5.4 Syntax: VRFY address [SMTPUTF8]\r\n501 Syntax: HELO hostname\r\n501 Syntax: EHLO hostname\r\n"
        "500 5.5.2 Error: command not recognized\r\n503 5.5.1 Error: authentication not enabled\r\n"
        "502 5.5.1 Error: command not implemented\r\n" + kBye);
}

TEST_CASE("smtp session: addresses", "[smtp][session]") {
  Conversation talk("smtpd_hard_error_limit = 100\n");
  const auto answer = [&](const std::string& command) {
    const bool sender = command[0] == 'M';
    const std::string before = kGreeting + (sender ? "" : kMailOk);
    const std::string all = sender ? talk({command}) : talk({"MAIL FROM:<>", command});
    return all.substr(before.size());
  };
  for (const char* good : {"MAIL FROM:<>", "MAIL FROM:a@b.example", "MAIL FROM: <a@b.example>", "MAIL FROM:<a@b@c.example>",
                           "MAIL FROM:<a>", "MAIL FROM:<@b.example>", "MAIL FROM:<j\xC3\xB6@b.example>"}) {
    CAPTURE(good);
    CHECK(answer(good) == kMailOk);
  }
  for (const char* bad : {"MAIL FROM:<a@b.example", "MAIL FROM:<a b@c.example>", "MAIL FROM:<a@>", "MAIL FROM:<a@b..c>",
                          "MAIL FROM:<a@[192.0.2.555]>", "MAIL FROM:<a@d\xC3\xA9st.example>", "MAIL FROM:<a@b>SIZE=1"}) {
    CAPTURE(bad);
    CHECK(answer(bad) == "501 5.1.7 Bad sender address syntax\r\n");
  }
  CHECK(answer("MAIL FROM:<a@d\xC3\xA9st.example> SMTPUTF8") == kMailOk);
  CHECK(answer("RCPT TO:<>") == "501 5.1.3 Bad recipient address syntax\r\n");
  CHECK(answer("RCPT TO:<b@c.example> junk") == "555 5.5.4 Unsupported option: junk\r\n");
  CHECK(answer("RCPT TO:<-b@c.example>") == "501 5.1.3 Bad recipient address syntax\r\n");
  CHECK(answer("NOOP \xFF") == "500 5.5.2 Error: bad UTF-8 syntax\r\n");
}

TEST_CASE("smtp session: verdicts become replies and log lines", "[smtp][session]") {
  Conversation talk;
  talk.filter->at = [](filter::Stage stage, filter::Context& context) {
    if (stage == filter::Stage::rcpt && context.rcpt->address == "no@dest.example") {
      return filter::Verdict::reply(554, "5.7.1", "<no@dest.example>: Relay access denied");
    }
    if (stage == filter::Stage::rcpt && context.rcpt->address == "milter@dest.example") {
      filter::Verdict verdict = filter::Verdict::reply(451, "4.2.1", "later");
      verdict.reason_id = "milter";
      return verdict;
    }
    if (stage == filter::Stage::rcpt) context.prepend.push_back("X-Added: yes");
    return filter::Verdict();
  };
  CHECK(talk({"EHLO c", "MAIL FROM:<\"a b\"@s.example>", "RCPT TO:<no@dest.example>", "RCPT TO:<yes@dest.example>",
              "RCPT TO:<milter@dest.example>", "DATA", "Subject: x\r\n\r\n.", "QUIT"}) ==
        kGreeting + kEhlo + kMailOk + "554 5.7.1 <no@dest.example>: Relay access denied\r\n" + kRcptOk + "451 4.2.1 later\r\n" +
            kData + "250 2.0.0 Ok: queued as ID1\r\n" + kBye);
  CHECK(talk.log ==
        "connect from unknown[192.0.2.10]\n"
        "NOQUEUE: reject: RCPT from unknown[192.0.2.10]: 554 5.7.1 <no@dest.example>: Relay access denied; "
        "from=<\"a b\"@s.example> to=<no@dest.example> proto=ESMTP helo=<c>\n"
        "ID1: client=unknown[192.0.2.10]\n"
        "ID1: milter-reject: RCPT from unknown[192.0.2.10]: 451 4.2.1 later; from=<\"a b\"@s.example> "
        "to=<milter@dest.example> proto=ESMTP helo=<c>\n"
        "cleanup ID1: message-id=<>\n"
        "disconnect from unknown[192.0.2.10] ehlo=1 mail=1 rcpt=1/3 data=1 quit=1 commands=5/7\n");
  CHECK(talk.sink.stored.at(0).headers.substr(0, 14) == "X-Added: yes\r\n");
}

TEST_CASE("smtp session: sticky verdicts answer from MAIL on", "[smtp][session]") {
  Conversation talk;
  talk.filter->at = [](filter::Stage stage, filter::Context&) {
    filter::Verdict verdict;
    if (stage == filter::Stage::connect) {
      verdict.action = filter::Action::reject;
      verdict.reason_id = "milter";
      verdict.sticky = true;
    }
    return verdict;
  };
  CHECK(talk({"EHLO c", "MAIL FROM:<a@b>", "RCPT TO:<b@c>", "NOOP", "FOO", "QUIT"}) ==
        "554 mx.example ESMTP not accepting connections\r\n250-mx.example\r\n250 ENHANCEDSTATUSCODES\r\n550 5.7.1 Command rejected\r\n"
        "503 5.5.1 Error: need MAIL command\r\n" + kOk + "550 5.7.1 Command rejected\r\n" + kBye);
  talk.filter->at = [](filter::Stage stage, filter::Context&) {
    filter::Verdict verdict;
    if (stage == filter::Stage::connect) verdict = filter::Verdict::reply(554, "5.7.1", "<unknown[192.0.2.10]>: Client host rejected: x");
    return verdict;
  };
  CHECK(talk({"EHLO c", "QUIT"}) == "554 5.7.1 <unknown[192.0.2.10]>: Client host rejected: x\r\n"
                                    "503 5.7.0 Error: access denied for unknown[192.0.2.10]\r\n" + kBye);
}

TEST_CASE("smtp session: content verdicts", "[smtp][session]") {
  Conversation talk;
  const auto send = [&] { return talk({"HELO c", "MAIL FROM:<a@b>", "RCPT TO:<b@c>", "DATA", "x\r\n."}).substr(kGreeting.size() + 16 + kMailOk.size() + kRcptOk.size() + kData.size()); };
  filter::Verdict verdict;
  talk.filter->content = [&](filter::Context&, const mime::Message&, filter::Journal&) { return verdict; };
  verdict = filter::Verdict::reply(550, "5.7.1", "spam");
  CHECK(send() == "550 5.7.1 spam\r\n");
  CHECK(talk.sink.stored.empty());
  verdict = filter::Verdict();
  verdict.action = filter::Action::discard;
  CHECK(send() == "250 2.0.0 Ok: queued as ID2\r\n");
  CHECK(talk.sink.stored.empty());
  verdict.action = filter::Action::quarantine;
  verdict.reason_id = "milter";
  CHECK(send() == "250 2.0.0 Ok: queued as ID3\r\n");
  REQUIRE(talk.sink.stored.size() == 1);
  CHECK(talk.sink.stored[0].envelope.hold);
  CHECK(talk.log.find("cleanup ID3: milter-hold: END-OF-MESSAGE from unknown[192.0.2.10]: milter triggers QUARANTINE action;") == std::string::npos);
  CHECK(talk.log.find("cleanup ID3: milter-hold: END-OF-MESSAGE from unknown[192.0.2.10]: milter triggers HOLD action;") != std::string::npos);
  verdict = filter::Verdict();
  talk.sink.failure = Errc::no_space;
  CHECK(send() == "452 4.3.1 Insufficient system storage\r\n");
  talk.sink.failure = Errc::closed;
  CHECK(send() == "451 4.3.0 Error: queue file write error\r\n");
}

TEST_CASE("smtp session: BDAT", "[smtp][session]") {
  Conversation talk;
  CHECK(talk.pieces({"EHLO c\r\n", "BDAT 10 LAST\r\n01234", "56789", "MAIL FROM:<a@b>\r\n", "BDAT 5\r\nhello", "RSET\r\n",
                     "MAIL FROM:<a@b>\r\nRCPT TO:<b@c>\r\nBDAT 14\r\nSubject: two\r\n", "DATA\r\n", "RCPT TO:<x@c>\r\n",
                     "BDAT 6\r\n\r\nhalf", "BDAT 7 LAST\r\n line\r\nMAIL FROM:<a@b>\r\n", "BDAT 0\r\n", "BDAT 3\r\nabc",
                     "BDAT x LAST\r\n", "NOOP\r\n"}) ==
        kGreeting + kEhlo + "503 5.5.1 Error: need RCPT command\r\n" + kMailOk + "554 5.5.1 Error: no valid recipients\r\n" + kOk +
            kMailOk + kRcptOk + "250 2.0.0 Ok: 14 bytes\r\n503 5.5.1 Error: DATA after BDAT\r\n503 5.5.1 Error: RCPT after BDAT\r\n"
            "250 2.0.0 Ok: 6 bytes\r\n250 2.0.0 Ok: 27 bytes queued as ID1\r\n" + kMailOk +
            "551 5.7.1 Null BDAT request\r\n551 5.0.0 Discarded 3 bytes after earlier error\r\n"
            "521 5.5.4 Syntax: BDAT count [LAST]\r\n");
  REQUIRE(talk.sink.stored.size() == 1);
  CHECK(talk.sink.stored[0].body == "half line\r\n");
}

TEST_CASE("smtp session: a refused last chunk ends the transaction", "[smtp][session]") {
  Conversation talk;
  talk.filter->at = [](filter::Stage stage, filter::Context&) {
    return stage == filter::Stage::data ? filter::Verdict::reply(554, "5.7.1", "at data") : filter::Verdict();
  };
  CHECK(talk.pieces({"EHLO c\r\n", "MAIL FROM:<a@b>\r\n", "RCPT TO:<b@c>\r\n", "BDAT 3 LAST\r\nabc", "MAIL FROM:<a@b>\r\n"}) ==
        kGreeting + kEhlo + kMailOk + kRcptOk + "554 5.7.1 at data\r\n" + kMailOk);
}

TEST_CASE("smtp session: EHLO is asked about before it makes the session ESMTP", "[smtp][session]") {
  Conversation talk;
  std::string protocol;
  talk.filter->at = [&](filter::Stage stage, filter::Context& context) {
    if (stage == filter::Stage::helo) protocol += context.session.protocol + " ";
    return filter::Verdict();
  };
  talk({"EHLO c", "HELO c"});
  CHECK(protocol == "SMTP ESMTP ");
}

TEST_CASE("smtp session: content is read to its end whatever is wrong", "[smtp][session]") {
  Conversation talk("message_size_limit = 3000\nhopcount_limit = 3\n");
  std::string big;
  for (int i = 0; i < 60; ++i) big += std::string(70, 'x') + "\r\n";
  CHECK(talk({"HELO c", "MAIL FROM:<a@b> SIZE=3001", "MAIL FROM:<a@b>", "RCPT TO:<b@c>", "DATA", "S: x\r\n\r\n" + big + ".",
              "MAIL FROM:<a@b>", "RCPT TO:<b@c>", "DATA", "Received: x\r\nReceived: y\r\n\r\n.", "NOOP"}) ==
        kGreeting + "250 mx.example\r\n552 5.3.4 Message size exceeds fixed limit\r\n" + kMailOk + kRcptOk + kData +
            "552 5.3.4 Error: message file too big\r\n" + kMailOk + kRcptOk + kData + "554 5.4.0 Error: too many hops\r\n" + kOk);
  CHECK(talk.sink.stored.empty());
}

TEST_CASE("smtp session: bare newlines", "[smtp][session]") {
  const std::string smuggle = "S: x\r\n\r\none\n.\nMAIL FROM:<evil@b>\r\n.\r\n";
  const std::deque<std::string> script = {"EHLO c\r\n", "MAIL FROM:<a@b>\n", "RCPT TO:<b@c>\r\n", "DATA\r\n", smuggle};
  Conversation normalize;
  normalize.pieces(script);
  REQUIRE(normalize.sink.stored.size() == 1);
  CHECK(normalize.sink.stored[0].body == "one\r\nMAIL FROM:<evil@b>\r\n");
  Conversation no("smtpd_forbid_bare_newline = no\n");
  no.pieces(script);
  REQUIRE(no.sink.stored.size() == 1);
  CHECK(no.sink.stored[0].body == "one\r\n");
  Conversation note("smtpd_forbid_bare_newline = note\n");
  note.pieces(script);
  CHECK(note.log.find(" notes=bare_lf\n") != std::string::npos);
  Conversation reject("smtpd_forbid_bare_newline = reject\n");
  CHECK(reject.pieces(script) == kGreeting + kEhlo + "550 5.5.2 mx.example Error: bare <LF> received\r\n");
  CHECK(reject.pieces({"HELO c\r\n", "MAIL FROM:<a@b>\r\n", "RCPT TO:<b@c>\r\n", "DATA\r\n", smuggle, "NOOP\r\n"}) ==
        kGreeting + "250 mx.example\r\n" + kMailOk + kRcptOk + kData + "550 5.5.2 mx.example Error: bare <LF> received\r\n" + kOk);
  Conversation excluded("smtpd_forbid_bare_newline = reject\nsmtpd_forbid_bare_newline_exclusions = 192.0.2.0/24\n");
  CHECK(excluded.pieces({"NOOP\n"}) == kGreeting + kOk);
}

TEST_CASE("smtp session: STARTTLS forgets what came before it", "[smtp][session]") {
  Conversation talk("smtpd_tls_security_level = may\nsmtpd_tls_received_header = yes\n");
  talk.parts.tls = std::make_shared<NoTls>();
  const std::string offered = std::string(kEhlo).insert(kEhlo.find("250-ENH"), "250-STARTTLS\r\n");
  CHECK(talk.pieces({"EHLO c\r\n", "MAIL FROM:<a@b>\r\n", "STARTTLS now\r\n", "STARTTLS\r\nRCPT TO:<injected@b>\r\n", "RCPT TO:<b@c>\r\n",
                     "EHLO c\r\n", "STARTTLS\r\n", "MAIL FROM:<a@b>\r\nRCPT TO:<b@c>\r\nDATA\r\n", "x\r\n.\r\n", "QUIT\r\n"}) ==
        kGreeting + offered + kMailOk + "501 5.5.4 Syntax: STARTTLS\r\n220 2.0.0 Ready to start TLS\r\n"
        "503 5.5.1 Error: need MAIL command\r\n" + kEhlo + "554 5.5.1 Error: TLS already active\r\n" + kMailOk + kRcptOk + kData +
            "250 2.0.0 Ok: queued as ID1\r\n" + kBye);
  CHECK(talk.sink.stored.at(0).headers.find(
            "\r\n\t(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits))\r\n\t(No client certificate requested)\r\n"
            "\tby mx.example (Mill) with ESMTPS id ID1\r\n") != std::string::npos);
  talk.tls_works = false;
  CHECK(talk({"STARTTLS", "NOOP"}) == kGreeting + "220 2.0.0 Ready to start TLS\r\n");
  CHECK(talk.log.find("lost connection after STARTTLS from unknown[192.0.2.10]\n") != std::string::npos);

  Conversation must("smtpd_tls_security_level = encrypt\n");
  must.parts.tls = std::make_shared<NoTls>();
  CHECK(must({"EHLO c", "MAIL FROM:<a@b>", "NOOP"}) ==
        kGreeting + offered + "530 5.7.0 Must issue a STARTTLS command first\r\n" + kOk);
}

TEST_CASE("smtp session: every write may be the last", "[smtp][session]") {
  for (int writes = 0; writes < 8; ++writes) {
    Conversation talk;
    talk.writes_left = writes;
    talk({"EHLO c", "MAIL FROM:<a@b>", "RCPT TO:<b@c>", "DATA", "x\r\n.", "QUIT"});
    CHECK(talk.log.find("disconnect from unknown[192.0.2.10]") != std::string::npos);
  }
}

TEST_CASE("smtp session: a client that goes away", "[smtp][session]") {
  Conversation talk;
  talk.pieces({"EHLO c\r\n", "MAIL FROM:<a@b>\r\n", "RCPT TO:<b@c>\r\n", "DATA\r\n", "Subject: cut\r\n\r\nx\r\n"});
  CHECK(talk.log == "connect from unknown[192.0.2.10]\nID1: client=unknown[192.0.2.10]\n"
                    "lost connection after DATA (19 bytes) from unknown[192.0.2.10]\n"
                    "disconnect from unknown[192.0.2.10] ehlo=1 mail=1 rcpt=1 data=0/1 commands=3/4\n");
  talk({"NOOP"});
  CHECK(talk.log == "connect from unknown[192.0.2.10]\nlost connection after NOOP from unknown[192.0.2.10]\n"
                    "disconnect from unknown[192.0.2.10] noop=1 commands=1\n");
}
