#include "core/deliver/verifier.h"

#include <catch2/catch.hpp>

#include "tests/support/memory_store.h"
#include "tests/support/on_loop.h"

using namespace millrace;
using namespace millrace::deliver;

namespace {
using Status = smtp::Verified::Status;

// Keeps the probes; they are answered when the test says so.
struct World {
  World() {
    rules.host = "mx.example";
    rules.mail_name = "Mill";
    rules.sender = "double-bounce@mx.example";
  }
  void run(const std::function<void()>& body) {
    test::on_loop([&] {
      verifier = std::make_unique<Verifier>(rules, store, [this](queue::Entry entry, std::shared_ptr<const std::string>, Verifier::Done done) {
        probes.push_back(std::move(entry));
        if (answer) return done({PassResult{0, *answer}});
        open.push_back(std::move(done));
      });
      body();
      verifier.reset();
    });
  }
  static Outcome outcome(Outcome::Status status, const std::string& text) {
    Outcome out;
    out.status = status;
    out.text = text;
    return out;
  }
  std::string ask(const std::string& address = "a@x", int wait_s = 0) {
    const auto known = verifier->verify(address, std::chrono::seconds(wait_s));
    if (!known) return "error";
    const char* const names[] = {"ok", "deferred", "bounced", "pending"};
    return std::string(names[static_cast<int>(known->status)]) + " " + known->text;
  }

  VerifierRules rules;
  test::MemoryStore store;
  std::unique_ptr<Verifier> verifier;
  std::vector<queue::Entry> probes;
  std::vector<Verifier::Done> open;
  std::optional<Outcome> answer;
};
}  // namespace

TEST_CASE("deliver verifier: one probe for all who ask, and its result is kept", "[deliver][verifier]") {
  World w;
  w.run([&] {
    CHECK(w.ask() == "pending Address verification in progress");
    CHECK(w.ask() == "pending Address verification in progress");
    REQUIRE(w.probes.size() == 1);
    CHECK(w.probes[0].envelope.sender == "double-bounce@mx.example");
    CHECK(w.probes[0].envelope.trace == mime::Trace::probe);
    CHECK(w.probes[0].recipients[0].recipient.address == "a@x");
    CHECK(queue::is_queue_id(w.probes[0].envelope.queue_id));
    w.open[0]({PassResult{0, World::outcome(Outcome::Status::bounced, "no such user")}});
    CHECK(w.ask() == "bounced no such user");
    CHECK(w.probes.size() == 1);
  });
}

TEST_CASE("deliver verifier: who waits gets the answer when it comes", "[deliver][verifier]") {
  World w;
  w.run([&] {
    (void)net::Loop::current().spawn(net::Stack::session, [&] {
      (void)net::sleep_until(Deadline::after(std::chrono::milliseconds(20)));
      w.open[0]({PassResult{0, World::outcome(Outcome::Status::sent, "250 Ok")}});
    });
    const TimePoint start = SteadyClock::now();
    CHECK(w.ask("a@x", 20) == "ok 250 Ok");
    CHECK(SteadyClock::now() - start < std::chrono::seconds(5));
  });
}

TEST_CASE("deliver verifier: what was good stays so while a refresh fails", "[deliver][verifier]") {
  World w;
  w.rules.positive_refresh = std::chrono::seconds(-1);   // every question is due for a probe
  w.answer = World::outcome(Outcome::Status::sent, "250 Ok");
  w.run([&] {
    CHECK(w.ask() == "ok 250 Ok");
    w.answer = World::outcome(Outcome::Status::bounced, "gone");
    CHECK(w.ask() == "ok 250 Ok");
    CHECK(w.probes.size() == 2);
    CHECK(w.ask() == "ok 250 Ok");
  });
}

TEST_CASE("deliver verifier: failures are asked again, and not kept when main.cf says so", "[deliver][verifier]") {
  World w;
  w.answer = World::outcome(Outcome::Status::deferred, "later");
  SECTION("kept, and refreshed behind the answer") { w.rules.negative_refresh = std::chrono::seconds(-1); }
  SECTION("expired") { w.rules.negative_expire = std::chrono::seconds(-1); }
  SECTION("not kept") { w.rules.negative_cache = false; }
  w.run([&] {
    CHECK(w.ask() == "deferred later");
    CHECK(w.ask() == "deferred later");
    CHECK(w.probes.size() == 2);
  });
}

TEST_CASE("deliver verifier: an alias of several is as good as its best", "[deliver][verifier]") {
  World w;
  w.run([&] {
    (void)w.ask();
    w.open[0]({PassResult{0, World::outcome(Outcome::Status::bounced, "no")},
               PassResult{1, World::outcome(Outcome::Status::sent, "yes")},
               PassResult{2, World::outcome(Outcome::Status::deferred, "later")}});
    CHECK(w.ask() == "ok yes");
  });
}

TEST_CASE("deliver verifier: probes are bounded, and one that cannot be tried is no answer", "[deliver][verifier]") {
  World w;
  w.rules.pending_limit = 1;
  w.run([&] {
    (void)w.ask("a@x");
    CHECK(w.ask("b@x") == "error");
    w.open[0]({});
    CHECK(w.ask("b@x") == "pending Address verification in progress");
  });
}

TEST_CASE("deliver verifier: a sender that changes is known for a while", "[deliver][verifier]") {
  CHECK(probe_user("double-bounce", 31 * 31) == "double-bounce100");
  const std::chrono::seconds ttl(3600);
  const WallMicros now = WallMicros{1'700'000'000} * 1'000'000, hour = WallMicros{3600} * 1'000'000;
  const std::string user = probe_user("double-bounce", now / hour);
  CHECK(is_probe_user(user, "double-bounce", ttl, now));
  CHECK(is_probe_user(user, "double-bounce", ttl, now + hour));
  CHECK_FALSE(is_probe_user(user, "double-bounce", ttl, now + 3 * hour));
  CHECK_FALSE(is_probe_user("double-bounce", "double-bounce", ttl, now));
  CHECK(is_probe_user("Double-Bounce", "double-bounce", std::chrono::seconds(0), now));
}
