#include "core/deliver/smtp_agent.h"

#include <catch2/catch.hpp>

#include "tests/support/on_loop.h"
#include "tests/support/scripted_resolver.h"
#include "tests/support/scripted_stream.h"

using namespace millrace;
using namespace millrace::deliver;

namespace {
// Servers by address: each connection takes the next script; none left: refused.
struct World {
  World() {
    options.use_ipv6 = false;
    options.randomize = false;
    entry.envelope.queue_id = "4ABC";
    queue::RecipientState one;
    one.recipient.address = "a@dest.example";
    entry.recipients.push_back(one);
    dns.mx("dest.example", {{10, "a.example"}, {20, "b.example"}});
    dns.a("a.example", "192.0.2.1");
    dns.a("b.example", "192.0.2.2");
  }
  void make() {
    agent = std::make_unique<SmtpAgent>(
        std::make_shared<const ClientOptions>(options), [](const std::string&) { return TlsPolicy{}; }, dns,
        [this](const net::Endpoint& to, const net::ConnectOptions&, Deadline) -> Result<std::unique_ptr<net::Stream>> {
          auto& list = servers[to.address];
          if (list.empty()) return fail(Errc::refused, "connect: Connection refused");
          auto script = list.front();
          list.pop_front();
          ++connections;
          return std::make_unique<test::ScriptedStream>(script, &sent);
        },
        log::Logger("postfix/smtp"), [this](const std::string& to, Attempt& passed) {
          passed_to = to;
          passed.all_pending(Outcome::Status::sent, "2.0.0", "passed");
        });
  }
  std::string deliver(std::unique_ptr<Carry>* keep = nullptr) {
    if (!agent) make();
    attempt = {};
    attempt.entry = &entry;
    attempt.recipients = {0};
    attempt.nexthop = "dest.example";
    attempt.content = {&content, content.size(), nullptr};
    std::unique_ptr<Carry> own;
    std::unique_ptr<Carry>& carry = keep != nullptr ? *keep : own;
    agent->deliver(attempt, carry);
    if (keep == nullptr) agent->release("dest.example", std::move(carry), false);
    const char* status[] = {"pending", "sent", "deferred", "bounced"};
    const Outcome& o = attempt.outcomes[0];
    return std::string(status[static_cast<int>(o.status)]) + " " + o.dsn + " " + o.text + " @" + o.relay;
  }

  test::ScriptedResolver dns;
  ClientOptions options;
  std::map<std::string, std::deque<std::deque<std::string>>> servers;
  std::unique_ptr<SmtpAgent> agent;
  queue::Entry entry;
  Attempt attempt;
  std::string passed_to;
  std::string content = "Subject: x\r\n\r\n", sent;
  int connections = 0;
};
const std::deque<std::string> kGood = {"220 x\r\n", "250 x\r\n", "250 ok\r\n", "250 ok\r\n", "354 go\r\n", "250 2.0.0 taken\r\n"};
const std::deque<std::string> kBusy = {"421 4.3.2 busy\r\n"};
const std::deque<std::string> kGrey = {"220 x\r\n", "250 x\r\n", "250 ok\r\n", "450 4.2.1 later\r\n", "503 no\r\n"};
const std::deque<std::string> kNo = {"220 x\r\n", "250 x\r\n", "250 ok\r\n", "550 5.1.1 never\r\n", "503 no\r\n"};
}  // namespace

TEST_CASE("deliver agent: next host after trouble, last word at the end", "[deliver][agent]") {
  test::on_loop([] {
    World w;
    SECTION("refused, then taken") {
      w.servers["192.0.2.2"] = {kGood};
      CHECK(w.deliver() == "sent 2.0.0 250 2.0.0 taken @b.example[192.0.2.2]:25");
      CHECK_FALSE(w.attempt.site_trouble);
    }
    SECTION("busy, then taken") {
      w.servers["192.0.2.1"] = {kBusy};
      w.servers["192.0.2.2"] = {kGood};
      CHECK(w.deliver() == "sent 2.0.0 250 2.0.0 taken @b.example[192.0.2.2]:25");
    }
    SECTION("put off, then put off by the last") {
      w.servers["192.0.2.1"] = {kGrey};
      w.servers["192.0.2.2"] = {kBusy};
      CHECK(w.deliver() == "deferred 4.3.2 host b.example[192.0.2.2] refused to talk to me: 421 4.3.2 busy @b.example[192.0.2.2]:25");
      CHECK(w.attempt.site_trouble);
    }
    SECTION("no for good is final") {
      w.servers["192.0.2.1"] = {kNo};
      w.servers["192.0.2.2"] = {kGood};
      CHECK(w.deliver() == "bounced 5.1.1 host a.example[192.0.2.1] said: 550 5.1.1 never (in reply to RCPT TO command) @a.example[192.0.2.1]:25");
      CHECK(w.connections == 1);
    }
    SECTION("nobody there") {
      CHECK(w.deliver() == "deferred 4.4.1 connect to b.example[192.0.2.2]:25: Connection refused @");
      CHECK(w.attempt.site_trouble);
    }
    SECTION("the session limit") {
      w.options.session_limit = 1;
      w.servers["192.0.2.1"] = {kGrey};
      w.servers["192.0.2.2"] = {kGood};
      CHECK(w.deliver().substr(0, 14) == "deferred 4.2.1");
    }
    SECTION("the fallback relay comes last") {
      w.options.fallback_relay = "[192.0.2.9]:26";
      w.servers["192.0.2.9"] = {kGood};
      CHECK(w.deliver() == "sent 2.0.0 250 2.0.0 taken @192.0.2.9[192.0.2.9]:26");
    }
  });
}

TEST_CASE("deliver agent: a bad next hop and a missing domain", "[deliver][agent]") {
  test::on_loop([] {
    World w;
    w.make();
    w.attempt.entry = &w.entry;
    w.attempt.recipients = {0};
    w.attempt.content = {&w.content, w.content.size(), nullptr};
    std::unique_ptr<Carry> carry;
    w.attempt.nexthop = "[broken";
    w.agent->deliver(w.attempt, carry);
    CHECK(w.attempt.outcomes[0].status == Outcome::Status::deferred);
    w.attempt.nexthop = "missing.example";
    w.agent->deliver(w.attempt, carry);
    CHECK(w.attempt.outcomes[0].status == Outcome::Status::bounced);
    CHECK(w.attempt.outcomes[0].dsn == "5.4.4");
  });
}

TEST_CASE("deliver agent: what may be the configuration's fault does not bounce mail", "[deliver][agent]") {
  test::on_loop([] {
    World w;
    w.dns.mx("dest.example", {{10, "us.example"}});
    w.dns.a("us.example", "192.0.2.100");
    w.options.own_addresses = {"192.0.2.100"};
    SECTION("mail loops") { CHECK(w.deliver() == "bounced 5.4.6 mail for dest.example loops back to myself @"); }
    SECTION("mail would loop, another transport takes it") {
      w.options.best_mx_transport = "local:here";
      CHECK(w.deliver() == "sent 2.0.0 passed @");
      CHECK(w.passed_to == "local:here");
    }
    SECTION("the relay host") {
      w.options.relayhost = "dest.example";
      w.options.best_mx_transport = "local";
      CHECK(w.deliver() == "deferred 4.3.5 mail for dest.example loops back to myself @");
      CHECK(w.passed_to.empty());
    }
    SECTION("the fallback relay") {
      w.options.fallback_relay = "missing.example";
      CHECK(w.deliver().substr(0, 14) == "deferred 4.3.5");
    }
    SECTION("LMTP knows none of it") {
      w.options.lmtp = true;
      w.options.relayhost = "dest.example";
      w.dns.a("dest.example", "192.0.2.1");
      w.servers["192.0.2.1"] = {kNo};
      CHECK(w.deliver().substr(0, 13) == "bounced 5.1.1");
    }
  });
}

TEST_CASE("deliver agent: a kept connection is used again, a dead one is replaced", "[deliver][agent]") {
  test::on_loop([] {
    World w;
    // ScriptedStream says readable() while script is left, so the second transaction goes over a
    // connection whose script ends: it is stale and a new one is opened.
    w.servers["192.0.2.1"] = {kGood, kGood};
    std::unique_ptr<Carry> carry;
    CHECK(w.deliver(&carry).substr(0, 4) == "sent");
    REQUIRE(carry != nullptr);
    CHECK(w.deliver(&carry).substr(0, 4) == "sent");
    CHECK(w.connections == 2);
    w.agent->release("dest.example", std::move(carry), true);
    w.agent->stop();
    CHECK(w.sent.ends_with("QUIT\r\n"));
  });
}

TEST_CASE("deliver agent: without a cache every delivery has its connection", "[deliver][agent]") {
  test::on_loop([] {
    World w;
    w.options.cache_on_demand = false;
    w.servers["192.0.2.1"] = {kGood};
    std::unique_ptr<Carry> carry;
    CHECK(w.deliver(&carry).substr(0, 4) == "sent");
    CHECK(carry == nullptr);
    CHECK(w.sent.ends_with("QUIT\r\n"));
  });
}
