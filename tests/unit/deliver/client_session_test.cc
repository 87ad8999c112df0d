#include "core/deliver/client_session.h"

#include <catch2/catch.hpp>

#include "core/net/fiber.h"
#include "tests/support/scripted_stream.h"

using namespace millrace;
using namespace millrace::deliver;

namespace {
constexpr char kEhlo[] = "250-sink\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250-8BITMIME\r\n250-DSN\r\n250 STARTTLS\r\n";

struct Fixture {
  Fixture() {
    entry.envelope.queue_id = "4ABC";
    entry.envelope.sender = "s@sender.example";
    entry.envelope.size = 42;
    add("a@dest.example");
    add("b 2@dest.example");
  }
  void add(const std::string& address) {
    queue::RecipientState state;
    state.recipient.address = address;
    entry.recipients.push_back(state);
    attempt.recipients.push_back(entry.recipients.size() - 1);
  }
  // What the session sends while the server says `pieces`; outcomes are in `attempt`.
  std::string talk(std::deque<std::string> pieces, int writes_left = -1) {
    std::string sent;
    auto stream = std::make_unique<test::ScriptedStream>(std::move(pieces), &sent);
    stream->writes_left = writes_left;
    stream->tls_works = tls_works;
    ClientSession session(std::move(stream), Host{"mx.example", {"192.0.2.1", 25, false}, 0},
                          std::make_shared<const ClientOptions>(options));
    attempt.entry = &entry;
    attempt.outcomes.assign(attempt.recipients.size(), Outcome{});
    attempt.content = {&content, content.size(), nullptr};
    trouble = session.open(policy, "dest.example");
    if (!trouble) {
      std::vector<std::size_t> all;
      for (std::size_t i = 0; i < attempt.recipients.size(); ++i) all.push_back(i);
      session.transfer(attempt, all);
    }
    usable = session.usable();
    session.quit();
    return sent;
  }
  std::string outcome(std::size_t i) const {
    const Outcome& o = attempt.outcomes[i];
    const char* status[] = {"pending", "sent", "deferred", "bounced"};
    return std::string(status[static_cast<int>(o.status)]) + " " + o.dsn + " " + o.text;
  }

  queue::Entry entry;
  Attempt attempt;
  ClientOptions options;
  TlsPolicy policy;
  std::string content = "Subject: x\r\n\r\n.\r\n";
  std::optional<Trouble> trouble;
  bool usable = false, tls_works = true;
};
}  // namespace

TEST_CASE("deliver session: smtp_generic_maps in envelope and headers, not in the body", "[deliver][session]") {
  map::TableSet tables({});
  config::Findings findings;
  const auto made = [&](const std::string& value) {
    const auto config = config::Config::from_text(
        "compatibility_level = 3.6\nmyhostname = mx.example\nmydestination =\nlocal_recipient_maps =\nalias_maps =\n"
        "inet_interfaces = 127.0.0.1\ninet_protocols = ipv4\n", "", findings);
    auto router = rewrite::Router::make(config, config->params(), tables);
    REQUIRE(router);
    auto generic = rewrite::GenericMaps::make("smtp_generic_maps", value, config->params(), *router, tables);
    REQUIRE(generic);
    return *generic;
  };
  Fixture f;
  f.content = "From: s@sender.example\r\nTo: A <a@dest.example>,\r\n x@dest.example\r\n\r\nTo: a@dest.example\r\n";
  SECTION("mapped") {
    f.options.generic = made("inline:{{s@sender.example=s@out.example}, {a@dest.example=a@out.example}}");
    const std::string sent = f.talk({"220 x\r\n", "250 x\r\n", "250 ok\r\n", "250 ok\r\n", "250 ok\r\n", "354 go\r\n", "250 2.0.0 ok\r\n", "221 x\r\n"});
    CHECK(sent == "EHLO localhost\r\nMAIL FROM:<s@out.example>\r\nRCPT TO:<a@out.example>\r\nRCPT TO:<\"b 2\"@dest.example>\r\nDATA\r\n"
                  "From: s@out.example\r\nTo: A <a@out.example>, x@dest.example\r\n\r\nTo: a@dest.example\r\n.\r\nQUIT\r\n");
  }
  SECTION("a table that fails defers, and nothing was sent") {
    f.options.generic = made("fail:x");
    const std::string sent = f.talk({"220 x\r\n", "250 x\r\n", "221 x\r\n"});
    CHECK(sent == "EHLO localhost\r\nQUIT\r\n");
    CHECK(f.outcome(0).substr(0, 14) == "deferred 4.3.0");
    CHECK(f.outcome(1).substr(0, 14) == "deferred 4.3.0");
  }
}

TEST_CASE("deliver session: one pipelined transaction", "[deliver][session]") {
  Fixture f;
  f.entry.envelope.body = mime::BodyType::eight_bit;
  f.entry.envelope.envid = "keep1";
  f.entry.envelope.ret = mime::Ret::full;
  f.entry.recipients[0].recipient.orcpt = "rfc822;orig@dest.example";
  f.entry.recipients[0].recipient.notify = mime::kNotifySuccess | mime::kNotifyFailure;
  CHECK(f.talk({"220 sink ESMTP\r\n", kEhlo, "250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n", "250 2.1.5 Ok\r\n354 go\r\n",
                "250 2.0.0 Ok: queued as X\r\n"}) ==
        "EHLO localhost\r\n"
        "MAIL FROM:<s@sender.example> SIZE=42 BODY=8BITMIME ENVID=keep1 RET=FULL\r\n"
        "RCPT TO:<a@dest.example> ORCPT=rfc822;orig@dest.example NOTIFY=SUCCESS,FAILURE\r\n"
        "RCPT TO:<\"b 2\"@dest.example> ORCPT=rfc822;b+202@dest.example\r\n"
        "DATA\r\nSubject: x\r\n\r\n..\r\n.\r\nQUIT\r\n");
  CHECK(f.outcome(0) == "sent 2.0.0 250 2.0.0 Ok: queued as X");
  CHECK(f.attempt.outcomes[0].relay == "mx.example[192.0.2.1]:25");
  CHECK(f.outcome(1) == "sent 2.0.0 250 2.0.0 Ok: queued as X");
}

TEST_CASE("deliver session: XFORWARD tells what the server takes and we know", "[deliver][session]") {
  Fixture f;
  f.options.send_xforward = true;
  f.entry.envelope.client_name = "unknown";
  f.entry.envelope.client_address = "2001:db8::1";
  f.entry.envelope.helo_name = "he lo";
  f.entry.envelope.protocol = "ESMTP";
  f.entry.envelope.source = "REMOTE";
  const char* const kSink = "250-sink\r\n250-PIPELINING\r\n250 XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE\r\n";
  const std::string sent = f.talk({"220 sink\r\n", kSink, "250 ok\r\n501 what\r\n250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n", "250 ok\r\n"});
  CHECK(sent.starts_with("EHLO localhost\r\nXFORWARD ADDR=IPv6:2001:db8::1\r\n"
                         "XFORWARD PROTO=ESMTP HELO=he+20lo IDENT=4ABC SOURCE=REMOTE\r\nMAIL FROM:"));
  CHECK(f.outcome(0) == "sent 2.0.0 250 ok");
  SECTION("what XFORWARD brought goes on, and nothing of ours is mixed in") {
    f.entry.envelope.log_client_name = "far.example";
    f.entry.envelope.log_ident = "9XYZ";
    CHECK(f.talk({"220 sink\r\n", kSink, "250 ok\r\n250 ok\r\n250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n", "250 ok\r\n"})
              .starts_with("EHLO localhost\r\nXFORWARD NAME=far.example\r\nXFORWARD IDENT=9XYZ SOURCE=REMOTE\r\nMAIL"));
  }
  SECTION("not to a server that does not offer it") {
    CHECK(f.talk({"220 sink\r\n", kEhlo, "250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n", "250 ok\r\n"}).find("XFORWARD") ==
          std::string::npos);
  }
}

TEST_CASE("deliver session: without EHLO, one command at a time", "[deliver][session]") {
  Fixture f;
  CHECK(f.talk({"220 sink\r\n", "500 what\r\n", "250 sink\r\n", "250 ok\r\n", "550 no\r\n", "250 ok\r\n", "354 go\r\n",
                "250 taken\r\n"}) ==
        "EHLO localhost\r\nHELO localhost\r\nMAIL FROM:<s@sender.example>\r\nRCPT TO:<a@dest.example>\r\n"
        "RCPT TO:<\"b 2\"@dest.example>\r\nDATA\r\nSubject: x\r\n\r\n..\r\n.\r\nQUIT\r\n");
  CHECK(f.outcome(0) == "bounced 5.0.0 host mx.example[192.0.2.1] said: 550 no (in reply to RCPT TO command)");
  CHECK(f.outcome(1) == "sent 2.0.0 250 taken");
}

TEST_CASE("deliver session: refusals at each step", "[deliver][session]") {
  Fixture f;
  SECTION("MAIL") {
    f.talk({"220 sink\r\n", kEhlo, "451 4.7.1 later\r\n503 x\r\n503 x\r\n503 x\r\n"});
    CHECK(f.outcome(0) == "deferred 4.7.1 host mx.example[192.0.2.1] said: 451 4.7.1 later (in reply to MAIL FROM command)");
    CHECK(f.outcome(1) == f.outcome(0));
    CHECK(f.usable);
  }
  SECTION("all recipients, DATA taken all the same: a single dot") {
    CHECK(f.talk({"220 sink\r\n", kEhlo, "250 ok\r\n550 5.1.1 no\r\n450 4.2.0 no\r\n354 go\r\n", "554 none\r\n"})
              .ends_with("DATA\r\n.\r\nQUIT\r\n"));
    CHECK(f.outcome(0) == "bounced 5.1.1 host mx.example[192.0.2.1] said: 550 5.1.1 no (in reply to RCPT TO command)");
    CHECK(f.outcome(1).substr(0, 14) == "deferred 4.2.0");
  }
  SECTION("DATA") {
    f.talk({"220 sink\r\n", kEhlo, "250 ok\r\n250 ok\r\n250 ok\r\n550 never\r\n"});
    CHECK(f.outcome(0) == "bounced 5.0.0 host mx.example[192.0.2.1] said: 550 never (in reply to DATA command)");
  }
  SECTION("end of data") {
    f.talk({"220 sink\r\n", kEhlo, "250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n", "452 4.3.1 disk full\r\n"});
    CHECK(f.outcome(1) == "deferred 4.3.1 host mx.example[192.0.2.1] said: 452 4.3.1 disk full (in reply to end of DATA command)");
  }
  SECTION("size") {
    f.entry.envelope.size = 1001;
    f.talk({"220 sink\r\n", kEhlo});
    CHECK(f.outcome(0) == "bounced 5.3.4 message size 1001 exceeds size limit 1000 of server mx.example[192.0.2.1]");
  }
  SECTION("SMTPUTF8") {
    f.entry.envelope.smtputf8 = true;
    f.entry.envelope.sender = "jörg@sender.example";
    f.talk({"220 sink\r\n", kEhlo});
    CHECK(f.outcome(0) == "bounced 5.6.7 SMTPUTF8 is required, but was not offered by host mx.example[192.0.2.1]");
  }
  SECTION("greeting") {
    f.talk({"554 no service\r\n"});
    REQUIRE(f.trouble);
    CHECK(f.trouble->dsn == "4.0.0");
    CHECK(f.trouble->text == "host mx.example[192.0.2.1] refused to talk to me: 554 no service");
  }
}

TEST_CASE("deliver session: a connection that ends anywhere leaves nobody undecided", "[deliver][session]") {
  const std::deque<std::string> all = {"220 sink\r\n", kEhlo, "250 ok\r\n", "250 ok\r\n", "250 ok\r\n", "354 go\r\n", "250 ok\r\n"};
  for (std::size_t keep = 0; keep < all.size(); ++keep) {
    Fixture f;
    f.talk({all.begin(), all.begin() + static_cast<std::ptrdiff_t>(keep)});
    CAPTURE(keep);
    if (keep < 2) {
      REQUIRE(f.trouble);
      CHECK(f.trouble->dsn == "4.4.2");
      continue;
    }
    CHECK(f.attempt.outcomes[0].status == Outcome::Status::deferred);
    CHECK(f.attempt.outcomes[1].dsn == "4.4.2");
    CHECK(f.attempt.site_trouble);
  }
  for (int writes = 0; writes < 3; ++writes) {
    Fixture f;
    f.talk(all, writes);
    CHECK((f.trouble.has_value() || f.attempt.outcomes[0].status == Outcome::Status::deferred));
  }
}

TEST_CASE("deliver session: LMTP answers for each recipient", "[deliver][session]") {
  Fixture f;
  f.options.lmtp = true;
  CHECK(f.talk({"220 lmtp\r\n", "250-lmtp\r\n250 PIPELINING\r\n", "250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n",
                "250 2.0.0 Ok\r\n", "452 4.2.2 full\r\n"}).substr(0, 16) == "LHLO localhost\r\n");
  CHECK(f.outcome(0) == "sent 2.0.0 250 2.0.0 Ok");
  CHECK(f.outcome(1) == "deferred 4.2.2 host mx.example[192.0.2.1] said: 452 4.2.2 full (in reply to end of DATA command)");
}

TEST_CASE("deliver session: STARTTLS", "[deliver][session]") {
  class NoContext : public net::TlsContext {};
  Fixture f;
  f.policy.level = TlsPolicy::Level::may;
  f.policy.context = std::make_shared<NoContext>();
  SECTION("offered: everything is asked again") {
    CHECK(f.talk({"220 sink\r\n", kEhlo, "220 go\r\n250 injected\r\n", "250 sink\r\n", "250 ok\r\n", "250 ok\r\n",
                  "250 ok\r\n", "354 go\r\n", "250 ok\r\n"})
              .starts_with("EHLO localhost\r\nSTARTTLS\r\nEHLO localhost\r\nMAIL FROM:<s@sender.example>\r\n"));
    CHECK(f.outcome(0) == "sent 2.0.0 250 ok");
  }
  SECTION("refused, may: goes on in the clear") {
    CHECK(f.talk({"220 sink\r\n", kEhlo, "454 4.7.0 no\r\n", "250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n", "250 ok\r\n"})
              .starts_with("EHLO localhost\r\nSTARTTLS\r\nMAIL FROM:<s@sender.example> SIZE=42\r\n"));
  }
  SECTION("refused or not offered, encrypt: no mail") {
    f.policy.level = TlsPolicy::Level::encrypt;
    CHECK(f.talk({"220 sink\r\n", "250 sink\r\n"}) == "EHLO localhost\r\nQUIT\r\n");
    CHECK(f.trouble->text == "TLS is required, but was not offered by host mx.example[192.0.2.1]");
    CHECK(f.trouble->dsn == "4.7.4");
    f.talk({"220 sink\r\n", kEhlo, "554 5.7.0 no\r\n"});
    CHECK(f.trouble->text == "TLS is required, but host mx.example[192.0.2.1] refused to start TLS: 554 5.7.0 no");
    CHECK(f.trouble->dsn == "4.7.0");
  }
  SECTION("the handshake fails") {
    f.tls_works = false;
    f.talk({"220 sink\r\n", kEhlo, "220 go\r\n"});
    CHECK(f.trouble->handshake);
    CHECK(f.trouble->text == "Cannot start TLS: handshake failure");
  }
}
