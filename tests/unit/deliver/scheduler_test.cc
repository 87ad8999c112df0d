#include "core/deliver/scheduler.h"

#include <catch2/catch.hpp>

#include "core/deliver/address.h"
#include "tests/support/memory_store.h"
#include "tests/support/on_loop.h"

using namespace millrace;
using namespace millrace::deliver;
using Status = Outcome::Status;

namespace {
class DomainRouter : public rewrite::Router {
 public:
  std::string rewrite(std::string_view address) const override {
    return std::string(address) + (address.find('@') == address.npos ? "@mx.example" : "");
  }
  Result<rewrite::Route> resolve(std::string_view recipient, std::string_view) const override {
    if (broken) return fail(Errc::temporary, "table");
    return rewrite::Route{rewrite::AddressClass::other, std::string(recipient), "smtp", domain_of(recipient)};
  }
  Result<bool> is_auth_destination(std::string_view) const override { return true; }
  Result<bool> is_local_domain(std::string_view) const override { return false; }
  bool is_deliverable_syntax(std::string_view) const override { return true; }
  Result<std::string> unlisted(std::string_view, Role, std::string_view, int*) const override { return std::string(); }
  bool broken = false;
};

// Says what a table says about each address; takes a while when told.
struct Wire {
  std::map<std::string, Status> answers;
  bool site_trouble = false, transport_trouble = false, reports = true, can_verify = true;
  std::chrono::milliseconds takes{0};
  std::vector<std::string> calls;
  std::map<std::string, std::size_t> running, most;
};

class FakeAgent : public Agent {
 public:
  explicit FakeAgent(Wire& wire) : wire_(wire) {}
  void deliver(Attempt& attempt, std::unique_ptr<Carry>&) override {
    std::string call = attempt.nexthop + ":";
    attempt.outcomes.assign(attempt.recipients.size(), Outcome{});
    const std::size_t now = ++wire_.running[attempt.nexthop];
    wire_.most[attempt.nexthop] = std::max(wire_.most[attempt.nexthop], now);
    for (std::size_t i = 0; i < attempt.recipients.size(); ++i) {
      call += " " + attempt.recipient(i).address;
      const auto it = wire_.answers.find(attempt.recipient(i).address);
      Outcome& outcome = attempt.outcomes[i];
      outcome.status = it == wire_.answers.end() ? Status::sent : it->second;
      outcome.dsn = outcome.status == Status::sent ? "2.0.0" : outcome.status == Status::deferred ? "4.4.1" : "5.1.1";
      outcome.text = "because";
      outcome.next_hop_reports = wire_.reports;
    }
    wire_.calls.push_back(call);
    attempt.site_trouble = wire_.site_trouble;
    attempt.transport_trouble = wire_.transport_trouble;
    if (wire_.takes.count() > 0) (void)net::sleep_until(Deadline::after(wire_.takes));
    --wire_.running[attempt.nexthop];
  }
  bool can_verify() const override { return wire_.can_verify; }
  void release(const std::string&, std::unique_ptr<Carry>, bool) override {}

 private:
  Wire& wire_;
};

struct World {
  World() {
    postman.host = "mx.example";
    postman.mail_name = "Mill";
    postman.double_bounce_sender = "double-bounce@mx.example";
  }
  void make() {
    scheduler = std::make_unique<Scheduler>(rules, postman, store, router, [this](const std::string& name) {
      auto out = std::make_unique<Transport>();
      out->name = name;
      out->limits = limits;
      out->agent = std::make_unique<FakeAgent>(wire);
      out->log = log::Logger("postfix/" + name);
      return out;
    });
  }
  void put(const std::string& id, const std::string& sender, const std::vector<std::string>& recipients, bool announce = true) {
    queue::Entry entry = like;
    entry.envelope.queue_id = id;
    entry.envelope.sender = sender;
    entry.envelope.arrival = wall_now() - age;
    for (const std::string& address : recipients) {
      queue::RecipientState state;
      state.recipient.address = state.recipient.original = address;
      state.recipient.notify = notify;
      entry.recipients.push_back(state);
    }
    REQUIRE(store.add(entry, "Subject: x\r\n\r\nbody\r\n", -1));
    if (announce) scheduler->stored(entry, store.messages[id].content);
  }
  void settle() {
    for (int i = 0; i < 2000 && (scheduler->active_messages() > 0 || scheduler->running() > 0); ++i) {
      (void)net::sleep_until(Deadline::after(std::chrono::milliseconds(2)));
    }
    REQUIRE(scheduler->active_messages() == 0);
  }
  void run(const std::function<void()>& body) {
    test::on_loop([&] {
      make();
      REQUIRE(scheduler->start());
      body();
      scheduler->stop(Deadline::after(std::chrono::seconds(5)));
    });
  }

  SchedulerRules rules;
  PostmanRules postman;
  TransportLimits limits;
  test::MemoryStore store;
  DomainRouter router;
  Wire wire;
  WallMicros age = 0;
  queue::Entry like;        // what put() begins with
  unsigned notify = 0;
  std::unique_ptr<Scheduler> scheduler;
};
}  // namespace

TEST_CASE("deliver scheduler: recipients are grouped by next hop, sorted and cut", "[deliver][scheduler]") {
  World w;
  w.limits.recipients = 2;
  w.limits.concurrency.limit = 1;
  w.run([&] {
    w.put("A1", "s@x", {"b1@one.example", "a@two.example", "b 2@one.example", "b3@one.example"});
    w.settle();
    std::sort(w.wire.calls.begin(), w.wire.calls.end());
    CHECK(w.wire.calls == std::vector<std::string>{"one.example: b 2@one.example b1@one.example",
                                                   "one.example: b3@one.example", "two.example: a@two.example"});
    CHECK(w.store.messages.empty());
    CHECK(w.store.marks == 1);
  });
}

TEST_CASE("deliver scheduler: what is put off waits, is flushed, and is then gone", "[deliver][scheduler]") {
  World w;
  w.wire.answers["b@one.example"] = Status::deferred;
  w.run([&] {
    w.put("A1", "s@x", {"a@one.example", "b@one.example"});
    w.settle();
    const queue::Entry& entry = w.store.messages.at("A1").entry;
    CHECK(entry.queue == queue::QueueName::deferred);
    CHECK(entry.recipients[0].done);
    CHECK_FALSE(entry.recipients[1].done);
    CHECK(entry.recipients[1].reason == "because");
    CHECK(entry.attempts == 1);
    CHECK(entry.next_attempt >= wall_now() + 290'000'000);
    w.wire.answers.clear();
    w.wire.calls.clear();
    w.scheduler->flush("A1");
    w.settle();
    CHECK(w.wire.calls == std::vector<std::string>{"one.example: b@one.example"});
    CHECK(w.store.messages.empty());
  });
}

TEST_CASE("deliver scheduler: failed recipients are reported to the sender, once stored", "[deliver][scheduler]") {
  World w;
  w.wire.answers["bad@one.example"] = Status::bounced;
  SECTION("a bounce goes out") {
    w.run([&] {
      w.put("A1", "s@x.example", {"bad@one.example"});
      w.settle();
      CHECK(w.wire.calls == std::vector<std::string>{"one.example: bad@one.example", "x.example: s@x.example"});
      CHECK(w.store.messages.empty());
    });
  }
  SECTION("no room for the bounce: the recipient stays") {
    w.run([&] {
      w.put("A1", "s@x.example", {"bad@one.example"}, false);
      w.store.full = true;
      w.scheduler->stored(w.store.messages.at("A1").entry, nullptr);
      w.settle();
      CHECK(w.store.messages.at("A1").entry.queue == queue::QueueName::deferred);
      CHECK_FALSE(w.store.messages.at("A1").entry.recipients[0].done);
    });
  }
  SECTION("nobody is told about a notice") {
    w.run([&] {
      w.put("A1", "", {"bad@one.example"});
      w.settle();
      CHECK(w.wire.calls.size() == 1);
      CHECK(w.store.messages.empty());
    });
  }
  SECTION("but the postmaster, when asked for, and that is the end") {
    w.postman.tell_double_bounces = true;
    w.wire.answers["postmaster@mx.example"] = Status::bounced;
    w.run([&] {
      w.put("A1", "", {"bad@one.example"});
      w.settle();
      CHECK(w.wire.calls == std::vector<std::string>{"one.example: bad@one.example", "mx.example: postmaster@mx.example"});
      CHECK(w.store.messages.empty());
    });
  }
  SECTION("soft_bounce") {
    w.rules.soft_bounce = true;
    w.run([&] {
      w.put("A1", "s@x.example", {"bad@one.example"});
      w.settle();
      CHECK(w.store.messages.at("A1").entry.recipients[0].dsn == "4.1.1");
    });
  }
}

TEST_CASE("deliver scheduler: too old is returned", "[deliver][scheduler]") {
  World w;
  w.wire.answers["a@one.example"] = Status::deferred;
  w.age = WallMicros{6} * 86400 * 1'000'000;
  w.run([&] {
    w.put("A1", "s@x.example", {"a@one.example"});
    w.settle();
    CHECK(w.wire.calls.back() == "x.example: s@x.example");
    CHECK(w.store.messages.empty());
  });
}

TEST_CASE("deliver scheduler: a delay is told once", "[deliver][scheduler]") {
  World w;
  w.wire.answers["a@one.example"] = Status::deferred;
  w.rules.delay_warning = std::chrono::hours(1);
  w.age = WallMicros{2} * 3600 * 1'000'000;
  w.run([&] {
    w.put("A1", "s@x.example", {"a@one.example"});
    w.settle();
    CHECK(w.wire.calls.back() == "x.example: s@x.example");
    CHECK(w.store.messages.at("A1").entry.delay_warned);
    w.wire.calls.clear();
    w.scheduler->flush_all();
    w.settle();
    CHECK(w.wire.calls == std::vector<std::string>{"one.example: a@one.example"});
  });
}

TEST_CASE("deliver scheduler: limits hold, destinations take turns", "[deliver][scheduler]") {
  World w;
  w.wire.takes = std::chrono::milliseconds(5);
  w.limits.processes = 3;
  w.limits.concurrency.initial = 2;
  w.limits.concurrency.limit = 2;
  w.rules.active_limit = 7;
  w.run([&] {
    for (int i = 0; i < 20; ++i) w.put("A" + std::to_string(i), "s@x", {"a@one.example"});
    for (int i = 0; i < 5; ++i) w.put("B" + std::to_string(i), "s@x", {"a@two.example"});
    CHECK(w.scheduler->active_messages() <= 7);
    w.settle();
    CHECK(w.wire.calls.size() == 25);
    CHECK(w.wire.most["one.example"] == 2);
    CHECK(w.wire.most["two.example"] >= 1);
    CHECK(w.store.messages.empty());
  });
}

TEST_CASE("deliver scheduler: a destination in trouble is left alone", "[deliver][scheduler]") {
  World w;
  w.wire.answers["a@one.example"] = Status::deferred;
  w.wire.site_trouble = true;
  w.limits.concurrency.initial = 1;
  w.run([&] {
    w.put("A1", "s@x", {"a@one.example"});
    w.put("A2", "s@x", {"a@one.example"});
    w.put("A3", "s@x", {"a@one.example"});
    w.settle();
    CHECK(w.wire.calls.size() == 1);
    CHECK(w.store.messages.at("A3").entry.recipients[0].reason == "delivery temporarily suspended: because");
    w.wire.answers.clear();
    w.wire.site_trouble = false;
    w.scheduler->flush_all();
    w.settle();
    CHECK(w.store.messages.empty());
  });
}

TEST_CASE("deliver scheduler: what the store held is taken over", "[deliver][scheduler]") {
  World w;
  test::on_loop([&] {
    w.make();
    w.put("A1", "s@x", {"a@one.example"}, false);
    w.put("A2", "s@x", {"b@one.example"}, false);
    w.put("A3", "s@x", {"c@one.example"}, false);
    w.put("A4", "s@x", {"d@one.example"}, false);
    w.put("A5", "s@x", {"e@one.example"}, false);
    w.store.messages["A2"].entry.queue = queue::QueueName::hold;
    w.store.messages["A3"].entry.queue = queue::QueueName::deferred;
    w.store.messages["A3"].entry.next_attempt = wall_now() + 1'000'000'000;
    w.store.messages["A4"].entry.queue = queue::QueueName::deferred;
    w.store.damaged = "A5";
    REQUIRE(w.scheduler->start());
    w.settle();
    CHECK(w.store.messages.size() == 3);
    CHECK(w.store.messages.contains("A2"));
    CHECK(w.store.messages.contains("A3"));
    CHECK(w.store.messages.at("A5").entry.queue == queue::QueueName::corrupt);
    CHECK(w.scheduler->flush_site("one.example"));
    w.settle();
    CHECK(w.store.messages.size() == 2);
    w.store.messages["A2"].entry.queue = queue::QueueName::deferred;
    w.scheduler->changed("A2");
    w.settle();
    CHECK(w.store.messages.size() == 1);
    w.scheduler->stop(Deadline::after(std::chrono::seconds(1)));
  });
}

TEST_CASE("deliver scheduler: hold and delete while a delivery runs", "[deliver][scheduler]") {
  World w;
  w.wire.takes = std::chrono::milliseconds(20);
  w.wire.answers["a@one.example"] = Status::deferred;
  w.run([&] {
    w.put("A1", "s@x", {"a@one.example"});
    w.put("A2", "s@x", {"a@one.example"});
    (void)net::sleep_until(Deadline::after(std::chrono::milliseconds(5)));
    CHECK(w.scheduler->is_active("A1"));
    w.store.messages["A1"].entry.queue = queue::QueueName::hold;
    w.scheduler->changed("A1");
    w.store.messages.erase("A2");
    w.scheduler->removed("A2");
    w.settle();
    CHECK(w.store.messages.at("A1").entry.queue == queue::QueueName::hold);
    CHECK(w.store.messages.size() == 1);
  });
}

TEST_CASE("deliver scheduler: a table that fails puts mail off", "[deliver][scheduler]") {
  World w;
  w.router.broken = true;
  w.wire.answers["a@one.example"] = Status::deferred;
  w.run([&] {
    w.put("A1", "s@x", {"a@one.example"});
    w.settle();
    CHECK(w.wire.calls == std::vector<std::string>{"4.3.0 address resolver failure: a@one.example"});
    CHECK(w.store.messages.at("A1").entry.queue == queue::QueueName::deferred);
  });
}

TEST_CASE("deliver scheduler: recipients of a large message are scheduled in portions", "[deliver][scheduler]") {
  World w;
  w.rules.recipient_limit = 300;
  w.limits.refill = 50;
  w.limits.recipients = 10;
  w.wire.takes = std::chrono::milliseconds(1);
  std::vector<std::string> many;
  for (int i = 0; i < 1000; ++i) many.push_back("u" + std::to_string(i) + "@one.example");
  w.wire.answers["u7@one.example"] = Status::deferred;
  w.run([&] {
    w.put("A1", "s@x", many);
    w.put("A2", "s@x", {"a@two.example"});
    CHECK(w.scheduler->active_messages() == 2);
    w.settle();
    CHECK(w.wire.calls.size() >= 101);
    CHECK(w.wire.calls.size() < 120);
    CHECK(w.store.messages.size() == 1);
    const queue::Entry& entry = w.store.messages.at("A1").entry;
    std::size_t open = 0;
    for (const queue::RecipientState& one : entry.recipients) open += one.done ? 0 : 1;
    CHECK(open == 1);
    CHECK(entry.recipients[7].reason == "because");
  });
}

TEST_CASE("deliver scheduler: a large message that is deleted ends", "[deliver][scheduler]") {
  World w;
  w.rules.recipient_limit = 20;
  w.limits.recipients = 1;
  w.wire.takes = std::chrono::milliseconds(5);
  std::vector<std::string> many;
  for (int i = 0; i < 1000; ++i) many.push_back("u" + std::to_string(i) + "@one.example");
  w.run([&] {
    w.put("A1", "s@x", many);
    (void)net::sleep_until(Deadline::after(std::chrono::milliseconds(20)));
    w.store.messages.erase("A1");
    w.scheduler->removed("A1");
    w.settle();
    CHECK(w.wire.calls.size() < 100);
  });
}

TEST_CASE("deliver scheduler: pauses between deliveries", "[deliver][scheduler]") {
  World w;
  w.limits.concurrency.initial = w.limits.concurrency.limit = 1;
  const auto took = [&](const std::vector<std::string>& recipients) {
    const TimePoint begin = SteadyClock::now();
    w.run([&] {
      int number = 0;
      for (const std::string& one : recipients) w.put("A" + std::to_string(number++), "s@x", {one});
      w.settle();
    });
    return SteadyClock::now() - begin;
  };
  SECTION("to one destination") {
    w.limits.rate_delay = std::chrono::seconds(1);
    CHECK(took({"a@one.example", "b@one.example", "a@two.example"}) >= std::chrono::seconds(1));
    CHECK(w.wire.calls[1] == "two.example: a@two.example");
  }
  SECTION("over one transport") {
    w.limits.transport_delay = std::chrono::seconds(1);
    w.limits.processes = 1;
    CHECK(took({"a@one.example", "a@two.example"}) >= std::chrono::seconds(1));
  }
}

TEST_CASE("deliver scheduler: deferred transports wait for a flush", "[deliver][scheduler]") {
  World w;
  w.rules.defer_transports = {"smtp"};
  w.wire.answers["a@one.example"] = Status::deferred;
  w.run([&] {
    w.put("A1", "s@x", {"a@one.example"});
    w.settle();
    CHECK(w.wire.calls == std::vector<std::string>{"4.3.2 deferred transport: a@one.example"});
    w.wire.answers.clear();
    w.scheduler->flush("A1");
    w.settle();
    CHECK(w.wire.calls.back() == "one.example: a@one.example");
    CHECK(w.store.messages.empty());
  });
}

TEST_CASE("deliver scheduler: a frozen queue manager delivers nothing", "[deliver][scheduler]") {
  World w;
  w.rules.frozen = true;
  w.run([&] {
    w.put("A1", "s@x", {"a@one.example"});
    w.scheduler->flush_all();
    w.scheduler->changed("A1");
    CHECK(w.scheduler->flush_site("one.example"));
    CHECK(w.scheduler->active_messages() == 0);
    CHECK(w.wire.calls.empty());
    CHECK(w.store.messages.size() == 1);
  });
}

TEST_CASE("deliver scheduler: a message that was tried meanwhile is not tried again", "[deliver][scheduler]") {
  World w;
  w.wire.answers["a@one.example"] = Status::deferred;
  w.run([&] {
    w.put("A1", "s@x", {"a@one.example"});
    w.settle();
    w.scheduler->flush("A1");
    w.scheduler->flush("A1");
    w.settle();
    CHECK(w.wire.calls.size() == 2);
    w.scheduler->flush_all();
    w.scheduler->flush_all();
    w.settle();
    CHECK(w.wire.calls.size() == 3);
  });
}

TEST_CASE("deliver scheduler: only eligible sites are flushed", "[deliver][scheduler]") {
  World w;
  w.rules.flush_domains = [](const std::string& domain) { return Result<bool>(domain == "one.example"); };
  w.wire.answers["a@one.example"] = w.wire.answers["a@two.example"] = Status::deferred;
  w.run([&] {
    w.put("A1", "s@x", {"a@one.example"});
    w.put("A2", "s@x", {"a@two.example"});
    w.settle();
    w.wire.calls.clear();
    CHECK_FALSE(w.scheduler->flush_site("two.example"));
    CHECK(w.scheduler->flush_site("one.example"));
    for (int i = 0; i < 500 && w.wire.calls.empty(); ++i) (void)net::sleep_until(Deadline::after(std::chrono::milliseconds(2)));
    w.settle();
    CHECK(w.wire.calls == std::vector<std::string>{"one.example: a@one.example"});
  });
}

TEST_CASE("deliver scheduler: new mail waits when the queue manager does not keep up", "[deliver][scheduler]") {
  World w;
  w.rules.active_limit = 1;
  w.rules.in_flow_delay = std::chrono::seconds(1);
  w.rules.in_flow_tokens = 2;
  w.wire.takes = std::chrono::milliseconds(50);
  w.run([&] {
    w.put("A1", "s@x", {"a@one.example"});
    CHECK(w.scheduler->flow_delay().count() == 0);
    w.put("A2", "s@x", {"a@one.example"});
    CHECK(w.scheduler->flow_delay().count() == 0);
    CHECK(w.scheduler->flow_delay() == std::chrono::seconds(1));
    w.settle();
    CHECK(w.scheduler->flow_delay().count() == 0);
  });
}

namespace {
// The text of the only notice that waits in the store (its recipient is deferred).
std::string notice_text(World& w) {
  std::string out;
  for (const auto& [id, message] : w.store.messages) {
    if (id != "A1") out += *message.content;
  }
  return out;
}
bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }
}  // namespace

TEST_CASE("deliver scheduler: successes are told when asked for, unless the next hop tells", "[deliver][scheduler]") {
  World w;
  w.wire.answers["s@x.example"] = Status::deferred;
  w.notify = mime::kNotifySuccess;
  SECTION("a next hop that does not report") { w.wire.reports = false; }
  SECTION("a next hop that reports") {}
  w.run([&] {
    w.put("A1", "s@x.example", {"a@one.example"});
    w.settle();
    const std::string text = notice_text(w);
    CHECK(has(text, "Subject: Successful Mail Delivery Report") == !w.wire.reports);
    CHECK(has(text, "Action: relayed\r\nStatus: 2.0.0\r\n") == !w.wire.reports);
  });
}

TEST_CASE("deliver scheduler: an alias is told as expanded, once", "[deliver][scheduler]") {
  World w;
  w.wire.answers["s@x.example"] = w.wire.answers["a@one.example"] = Status::deferred;
  mime::Recipient alias;
  alias.address = alias.original = "list@x.example";
  w.like.envelope.expanded.push_back(alias);
  w.run([&] {
    w.put("A1", "s@x.example", {"a@one.example"});
    w.settle();
    CHECK(has(notice_text(w), "Final-Recipient: rfc822; list@x.example\r\nOriginal-Recipient: rfc822;list@x.example\r\n"
                              "Action: expanded\r\n"));
    CHECK(w.store.messages.size() == 2);
    w.scheduler->flush("A1");
    w.settle();
    CHECK(w.store.messages.size() == 2);
  });
}

TEST_CASE("deliver scheduler: a message to be verified is told about and not kept", "[deliver][scheduler]") {
  World w;
  w.like.envelope.trace = mime::Trace::verify;
  w.wire.answers = {{"s@x.example", Status::deferred}, {"bad@one.example", Status::bounced}, {"late@one.example", Status::deferred}};
  SECTION("by an agent that can") {}
  SECTION("by one that would deliver: it is not asked") { w.wire.can_verify = false; }
  w.run([&] {
    w.put("A1", "s@x.example", {"good@one.example", "bad@one.example", "late@one.example"});
    w.settle();
    CHECK(w.store.messages.count("A1") == 0);
    const std::string text = notice_text(w);
    CHECK(has(text, "Subject: Mail Delivery Status Report"));
    CHECK(has(text, "Action: undeliverable\r\nStatus: 5.1.1\r\n") == w.wire.can_verify);
    CHECK(has(text, "Action: undeliverable\r\nStatus: 4.4.1\r\n") == w.wire.can_verify);
    CHECK(has(text, "Action: deliverable\r\nStatus: 2.0.0\r\n"));
    CHECK(w.wire.calls.size() == (w.wire.can_verify ? 2 : 1));
  });
}

TEST_CASE("deliver scheduler: a traced message is delivered, and its first attempt told", "[deliver][scheduler]") {
  World w;
  w.like.envelope.trace = mime::Trace::record;
  w.wire.answers = {{"s@x.example", Status::deferred}, {"late@one.example", Status::deferred}};
  w.run([&] {
    w.put("A1", "s@x.example", {"good@one.example", "late@one.example"});
    w.settle();
    CHECK(w.store.messages.at("A1").entry.recipients[0].done);
    CHECK_FALSE(w.store.messages.at("A1").entry.recipients[1].done);
    CHECK(has(notice_text(w), "Action: relayed\r\n"));
    CHECK(has(notice_text(w), "Action: delayed\r\n"));
    w.scheduler->flush("A1");
    w.settle();
    CHECK(w.store.messages.size() == 2);   // no second report
  });
}

TEST_CASE("deliver scheduler: the end of a delay that was told is told when asked for", "[deliver][scheduler]") {
  World w;
  w.like.delay_warned = true;
  w.wire.answers["s@x.example"] = Status::deferred;
  SECTION("confirm_delay_cleared") { w.postman.confirm_delay_cleared = true; }
  SECTION("not") {}
  w.run([&] {
    w.put("A1", "s@x.example", {"a@one.example"});
    w.settle();
    CHECK(has(notice_text(w), "Action: relayed\r\n") == w.postman.confirm_delay_cleared);
  });
}

TEST_CASE("deliver scheduler: a transport out of order rests as a whole", "[deliver][scheduler]") {
  World w;
  w.wire.answers["a@one.example"] = Status::deferred;
  w.wire.transport_trouble = true;
  w.rules.transport_retry = std::chrono::seconds(60);
  w.run([&] {
    w.put("A1", "s@x", {"a@one.example"});
    w.settle();
    w.put("A2", "s@x", {"a@two.example"});
    w.settle();
    CHECK(w.wire.calls.size() == 1);
    CHECK(w.store.messages.at("A2").entry.recipients[0].reason == "mail transport unavailable");
    w.wire = {};
    w.scheduler->flush_all();
    w.settle();
    CHECK(w.store.messages.empty());
  });
}
