// Limits, pipelining, forbidden commands, footers, XCLIENT, XFORWARD, VRFY, ETRN, start-up errors.
#include <catch2/catch.hpp>

#include "tests/support/conversation.h"

using namespace millrace;
using namespace millrace::test;

namespace {
const std::string kGreeting = "220 mx.example ESMTP\r\n", kHelo = "250 mx.example\r\n", kBye = "221 2.0.0 Bye\r\n";
const std::string kOk = "250 2.0.0 Ok\r\n", kMailOk = "250 2.1.0 Ok\r\n", kRcptOk = "250 2.1.5 Ok\r\n";
const std::string kUnknown = "500 5.5.2 Error: command not recognized\r\n";
const std::string kTooMany = "421 4.7.0 mx.example Error: too many errors\r\n";
const std::string kRules = "221 2.7.0 Error: I can break rules, too. Goodbye.\r\n";

std::string repeat(int count, const std::string& text) {
  std::string out;
  for (int i = 0; i < count; ++i) out += text;
  return out;
}
}  // namespace

TEST_CASE("smtp session: error and junk limits", "[smtp][session]") {
  Conversation talk("smtpd_soft_error_limit = 3\nsmtpd_hard_error_limit = 5\nsmtpd_junk_command_limit = 4\n");
  CHECK(talk({"HELO c", "FOO", "FOO", "FOO", "FOO", "FOO", "FOO"}) == kGreeting + kHelo + repeat(5, kUnknown) + kTooMany);
  CHECK(talk.log.find("too many errors after UNKNOWN from unknown[192.0.2.10]\n") != std::string::npos);
  CHECK(talk({"HELO c", "NOOP", "NOOP", "RSET", "NOOP", "NOOP", "NOOP", "NOOP", "NOOP", "NOOP", "NOOP"}) ==
        kGreeting + kHelo + repeat(9, kOk) + kTooMany);
}

TEST_CASE("smtp session: recipient limit and overshoot", "[smtp][session]") {
  Conversation talk("smtpd_hard_error_limit = 2\nsmtpd_recipient_limit = 1\nsmtpd_recipient_overshoot_limit = 2\n");
  const std::string over = "452 4.5.3 Error: too many recipients\r\n";
  CHECK(talk({"MAIL FROM:<>", "RCPT TO:<a@b>", "RCPT TO:<b@b>", "RCPT TO:<c@b>", "RCPT TO:<d@b>", "RCPT TO:<e@b>", "NOOP"}) ==
        kGreeting + kMailOk + kRcptOk + repeat(4, over) + kTooMany);
}

TEST_CASE("smtp session: duplicate recipients are dropped, addresses completed", "[smtp][session]") {
  Conversation talk;
  talk({"MAIL FROM:<a>", "RCPT TO:<b@c>", "RCPT TO:<B@c>", "RCPT TO:<x>", "RCPT TO:<b@c> ORCPT=rfc822;z", "DATA", "x\r\n."});
  REQUIRE(talk.sink.stored.size() == 1);
  const mime::Envelope& envelope = talk.sink.stored[0].envelope;
  CHECK(envelope.sender == "a@mx.example");
  REQUIRE(envelope.recipients.size() == 3);
  CHECK(envelope.recipients[1].address == "x@mx.example");
  CHECK(envelope.recipients[1].original == "x");
  CHECK(envelope.recipients[2].orcpt == "rfc822;z");
}

TEST_CASE("smtp session: pipelined commands are answered in one write, improper ones end it", "[smtp][session]") {
  Conversation talk;
  CHECK(talk.pieces({"EHLO c\r\n", "MAIL FROM:<a@b>\r\nRCPT TO:<b@c>\r\nDATA\r\n", "x\r\n.\r\nQUIT\r\n"}).ends_with(
      kMailOk + kRcptOk + "354 End data with <CR><LF>.<CR><LF>\r\n250 2.0.0 Ok: queued as ID1\r\n" + kBye));
  CHECK(talk.pieces({"EHLO c\r\n", "MAIL FROM:<a@b>\r\nRCPT TO:<b@c>\r\nDATA\r\nSubject: early\r\n\r\n.\r\n"}).ends_with(
      kMailOk + kRcptOk + "554 5.5.0 Error: SMTP protocol synchronization\r\n"));
  CHECK(talk.log.find("improper command pipelining after DATA from unknown[192.0.2.10]: Subject: early\\r\\n\\r\\n.\\r\\n\n") !=
        std::string::npos);
  CHECK(talk.pieces({"HELO c\r\nMAIL FROM:<a@b>\r\n"}) == kGreeting + "554 5.5.0 Error: SMTP protocol synchronization\r\n");
  Conversation lax("smtpd_forbid_unauth_pipelining = no\n");
  bool seen = false;
  lax.filter->at = [&](filter::Stage stage, filter::Context& context) {
    if (stage == filter::Stage::data) seen = context.session.improper_pipelining;
    return filter::Verdict();
  };
  CHECK(lax.pieces({"HELO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<b@c>\r\nDATA\r\nx\r\n.\r\n"}).ends_with("queued as ID1\r\n"));
  CHECK(seen);
}

TEST_CASE("smtp session: forbidden and no-op commands, command filter", "[smtp][session]") {
  Conversation talk("smtpd_noop_commands = XTEST, xother\nsmtpd_forbidden_commands = CONNECT GET POST USER\n"
                    "smtpd_command_filter = inline:{ {wiz = NOOP}, {dropme = FOO bar} }\n");
  CHECK(talk({"XTEST a b", "XOTHER", "WIZ", "DROPME", "GET / HTTP/1.0"}) == kGreeting + kOk + kOk + kOk + kUnknown + kRules);
  CHECK(talk({"Subject: hello", "NOOP"}) == kGreeting + kRules);
  CHECK(talk.log.find("warning: non-SMTP command from unknown[192.0.2.10]: Subject: hello\n") != std::string::npos);
}

TEST_CASE("smtp session: footers and soft bounces", "[smtp][session]") {
  Conversation talk("smtpd_reject_footer = \\c; see https://x/?c=$client_address\\n Ask $server_name for $sender to $recipient\n"
                    "soft_bounce = yes\n");
  CHECK(talk({"MAIL FROM:<a@b>", "FOO"}) == kGreeting + kMailOk +
        "400-4.5.2 Error: command not recognized; see https://x/?c=192.0.2.10\r\n400 4.5.2  Ask mx.example for a@b to \r\n");
}

TEST_CASE("smtp session: keywords can be hidden", "[smtp][session]") {
  Conversation talk("smtpd_discard_ehlo_keywords = etrn, chunking\nmessage_size_limit = 0\ndisable_vrfy_command = yes\n"
                    "smtpd_discard_ehlo_keyword_address_maps = inline:{ {192.0.2.77 = pipelining, dsn, size, silent-discard} }\n");
  CHECK(talk({"EHLO c", "VRFY x", "BDAT 1"}) ==
        kGreeting + "250-mx.example\r\n250-PIPELINING\r\n250-SIZE\r\n250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n250-DSN\r\n"
        "250 SMTPUTF8\r\n502 5.5.1 VRFY command is disabled\r\n521 5.5.1 Error: command not implemented\r\n");
  CHECK(talk.log.find("discarding EHLO keywords: etrn chunking\n") != std::string::npos);
  talk.client = "192.0.2.77";
  CHECK(talk({"EHLO c", "MAIL FROM:<a@b> RET=FULL"}) ==
        kGreeting + "250-mx.example\r\n250-ETRN\r\n250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 CHUNKING\r\n"
        "501 5.7.1 DSN support is disabled\r\n");
  CHECK(talk.log.find("discarding") == std::string::npos);
}

TEST_CASE("smtp session: XCLIENT starts again as the other client", "[smtp][session]") {
  // Who the client is now decides whether there may be another.
  Conversation talk("smtpd_authorized_xclient_hosts = 192.0.2.10, [2001:db8:1::]/64\n");
  std::vector<std::string> connects;
  talk.filter->at = [&](filter::Stage stage, filter::Context& context) {
    if (stage == filter::Stage::connect) connects.push_back(context.session.client_name + " " + context.session.client_address);
    return filter::Verdict();
  };
  CHECK(talk({"XCLIENT", "XCLIENT NAME", "XCLIENT FOO=bar", "XCLIENT ADDR=notanaddress", "XCLIENT ADDR=2001:db8::1",
              "XCLIENT NAME=bad..name", "XCLIENT PORT=abc", "XCLIENT PROTO=ESMTPS", "XFORWARD NAME=x",
              "XCLIENT NAME=named.example ADDR=IPV6:2001:db8::7 HELO=xhelo.example PROTO=ESMTP LOGIN=joe", "MAIL FROM:<a@b>",
              "XCLIENT NAME=x", "RCPT TO:<b@c>", "DATA", "x\r\n.", "XCLIENT NAME=[TEMPUNAVAIL] ADDR=[UNAVAILABLE]"}) ==
        kGreeting + "501 5.5.4 Syntax: XCLIENT attribute=value...\r\n501 5.5.4 Error: attribute=value expected\r\n"
        "501 5.5.4 Bad XCLIENT attribute name: FOO\r\n501 5.5.4 Bad ADDR syntax: notanaddress\r\n"
        "501 5.5.4 Bad ADDR syntax: 2001:db8::1\r\n501 5.5.4 Bad NAME syntax: bad..name\r\n501 5.5.4 Bad PORT syntax: abc\r\n"
        "501 5.5.4 Bad PROTO syntax: ESMTPS\r\n550 5.7.0 Error: insufficient authorization\r\n" + kGreeting + kMailOk +
            "503 5.5.1 Error: MAIL transaction in progress\r\n" + kRcptOk + "354 End data with <CR><LF>.<CR><LF>\r\n"
            "250 2.0.0 Ok: queued as ID1\r\n550 5.7.0 Error: insufficient authorization\r\n");   // 2001:db8::7 may not
  CHECK(connects == std::vector<std::string>{"unknown 192.0.2.10", "named.example 2001:db8::7"});
  CHECK(talk.filter->opened == 2);
  CHECK(talk.sink.stored.at(0).headers.substr(0, 73) ==
        "Received: from xhelo.example (named.example [IPv6:2001:db8::7])\r\n\tby mx.e");
  CHECK(talk.sink.stored[0].headers.find("with ESMTPA id") != std::string::npos);
  CHECK(talk.log.find("ID1: client=named.example[2001:db8::7], sasl_method=XCLIENT, sasl_username=joe\n") != std::string::npos);
}

TEST_CASE("smtp session: XFORWARD is for the log of one message", "[smtp][session]") {
  Conversation talk("smtpd_authorized_xforward_hosts = 192.0.2.0/24\n");
  CHECK(talk({"XFORWARD NAME=fwd.example ADDR=198.51.100.7 PROTO=ESMTP HELO=f.example", "XFORWARD SOURCE=LOCAL IDENT=abc+20def PORT=12",
              "XFORWARD BAD=1", "XFORWARD ADDR=999.1.1.1", "XFORWARD SOURCE=X", "MAIL FROM:<a@b>", "XFORWARD NAME=x", "RCPT TO:<b@c>",
              "DATA", "x\r\n.", "MAIL FROM:<a@b>", "RCPT TO:<b@c>", "DATA", "x\r\n."}).substr(0, 200) ==
        (kGreeting + kOk + kOk + "501 5.5.4 Bad XFORWARD attribute name: BAD\r\n501 5.5.4 Bad ADDR syntax: 999.1.1.1\r\n"
        "501 5.5.4 Bad SOURCE syntax: X\r\n" + kMailOk + "503 5.5.1 Error: MAIL transaction in progress\r\n").substr(0, 200));
  CHECK(talk.log.find("ID1: client=unknown[192.0.2.10], orig_queue_id=abc?def, orig_client=fwd.example[198.51.100.7]\n") !=
        std::string::npos);
  CHECK(talk.log.find("ID2: client=unknown[192.0.2.10]\n") != std::string::npos);
  CHECK(talk.sink.stored.at(0).envelope.log_helo_name == "f.example");
  CHECK(talk.sink.stored.at(1).envelope.log_helo_name.empty());
}

TEST_CASE("smtp session: VRFY and ETRN", "[smtp][session]") {
  Conversation talk;
  std::string flushed;
  talk.parts.flush_site = [&](const std::string& site) {
    flushed += site + ";";
    return true;
  };
  talk.filter->at = [](filter::Stage stage, filter::Context& context) {
    if (stage == filter::Stage::vrfy && context.rcpt->address == "no@dest.example") {
      return filter::Verdict::reply(550, "5.1.1", "<no@dest.example>: Recipient address rejected: User unknown");
    }
    if (stage == filter::Stage::etrn && context.typed == "refused.example") {
      return filter::Verdict::reply(554, "5.7.1", "<refused.example>: Etrn command rejected: not you");
    }
    return filter::Verdict();
  };
  CHECK(talk({"VRFY known@dest.example", "VRFY <known@dest.example>", "VRFY Some Name <known@dest.example>", "VRFY no@dest.example",
              "VRFY two words", "ETRN", "ETRN dest.example", "ETRN unknown.example", "ETRN @dest.example", "ETRN bad domain",
              "ETRN [192.0.2.1]", "ETRN refused.example", "MAIL FROM:<a@b>", "ETRN dest.example"}) ==
        kGreeting + "252 2.0.0 known@dest.example\r\n252 2.0.0 <known@dest.example>\r\n252 2.0.0 Some Name <known@dest.example>\r\n"
        "550 5.1.1 <no@dest.example>: Recipient address rejected: User unknown\r\n501 5.1.3 Bad recipient address syntax\r\n"
        "500 Syntax: ETRN domain\r\n250 Queuing started\r\n459 <unknown.example>: service unavailable\r\n250 Queuing started\r\n"
        "500 Syntax: ETRN domain\r\n459 <[192.0.2.1]>: service unavailable\r\n"
        "554 5.7.1 <refused.example>: Etrn command rejected: not you\r\n" + kMailOk + "503 Error: MAIL transaction in progress\r\n");
  CHECK(flushed == "dest.example;dest.example;");
}

TEST_CASE("smtp session: rates and session counts", "[smtp][session]") {
  Conversation talk("smtpd_client_message_rate_limit = 2\nsmtpd_client_recipient_rate_limit = 1\n"
                    "smtpd_client_connection_rate_limit = 3\nsmtpd_client_event_limit_exceptions = 198.51.100.0/24\n");
  talk.parts.anvil = smtp::AnvilTable::map().value();
  CHECK(talk({"MAIL FROM:<a@b>", "RSET", "MAIL FROM:<a@b>", "RCPT TO:<b@c>", "RCPT TO:<b@c>", "RSET", "MAIL FROM:<a@b>"}) ==
        kGreeting + kMailOk + kOk + kMailOk + kRcptOk + "450 4.7.1 Error: too many recipients from 192.0.2.10\r\n" + kOk +
            "450 4.7.1 Error: too much mail from 192.0.2.10\r\n");
  talk({});
  talk({});
  CHECK(talk({}) == "421 4.7.0 mx.example Error: too many connections from 192.0.2.10\r\n");
  CHECK(talk.log.find("warning: Connection rate limit exceeded: 4 from unknown[192.0.2.10] for service smtp\n") != std::string::npos);
  talk.client = "198.51.100.9";
  CHECK(talk({}) == kGreeting);
  Conversation one("", "smtp inet n - n - 1 smtpd\n");
  one.parts.anvil = smtp::AnvilTable::map().value();
  smtp::Anvil(*one.parts.anvil, 5, std::chrono::seconds(60)).enter("smtp");
  CHECK(one({}) == "421 4.3.2 All server ports are busy\r\n");
}

TEST_CASE("smtp session: start-up errors name their parameter", "[smtp][service]") {
  struct Case { const char *line, *parameter; };
  const Case row = GENERATE(values<Case>({
      {"smtpd_tls_security_level = encrypt", "smtpd_tls_security_level"},
      {"smtpd_tls_security_level = maybe", "smtpd_tls_security_level"},
      {"smtpd_forbid_bare_newline = perhaps", "smtpd_forbid_bare_newline"},
      {"smtpd_discard_ehlo_keywords = nonsense", "smtpd_discard_ehlo_keywords"},
      {"smtpd_noop_commands = foo:bar", "smtpd_noop_commands"},
      {"local_header_rewrite_clients = permit_everybody", "local_header_rewrite_clients"},
      {"smtpd_sasl_auth_enable = yes", "smtpd_sasl_auth_enable"},
  }));
  CAPTURE(row.line);
  Conversation talk(std::string(row.line) + "\n");
  CHECK(talk({}) == "no service");
  bool named = false;
  for (const auto& line : talk.findings.lines) named = named || (line.is_error && line.parameter == row.parameter);
  CHECK(named);
}
