#include <catch2/catch.hpp>

#include "core/deliver/destination.h"

using namespace millrace;
using namespace millrace::deliver;

namespace {
struct World {
  World() {
    transport.name = "smtp";
    transport.limits.concurrency.initial = transport.limits.concurrency.limit = 1;
  }
  // A message of so many batches for each destination named.
  std::shared_ptr<ActiveMessage> put(const std::string& id, std::size_t batches, const std::vector<std::string>& to) {
    auto message = std::make_shared<ActiveMessage>();
    message->entry.envelope.queue_id = id;
    for (const std::string& name : to) {
      for (std::size_t i = 0; i < batches; ++i) transport.add(transport.destination(name, name), {message, {i}, &transport});
    }
    return message;
  }
  // Who is served next when each delivery ends before the following one begins.
  std::string run(std::size_t most) {
    std::string out;
    for (std::size_t i = 0; i < most; ++i) {
      const auto pick = transport.pick();
      if (!pick) return out + ".";
      out += pick->batch.message->id();
      transport.leave(*pick->destination);
    }
    return out;
  }
  Transport transport;
};
}  // namespace

TEST_CASE("deliver transport: jobs run in order, and none is left behind", "[deliver][transport]") {
  World w;
  w.put("A", 3, {"one.example"});
  w.put("B", 2, {"one.example", "two.example"});
  CHECK(w.run(10) == "AAABBBB.");
  CHECK(w.transport.jobs.empty());
  CHECK(w.transport.ready.empty());
}

TEST_CASE("deliver transport: a full destination holds up nobody else", "[deliver][transport]") {
  World w;
  w.put("A", 2, {"one.example"});
  w.put("B", 1, {"two.example"});
  const auto first = w.transport.pick();
  REQUIRE(first);
  CHECK(first->batch.message->id() == "A");
  const auto second = w.transport.pick();
  REQUIRE(second);
  CHECK(second->batch.message->id() == "B");
  CHECK_FALSE(w.transport.pick());
  w.transport.leave(*first->destination);
  CHECK(w.transport.pick()->batch.message->id() == "A");
}

TEST_CASE("deliver transport: destinations of one job take turns", "[deliver][transport]") {
  World w;
  w.transport.limits.concurrency.initial = w.transport.limits.concurrency.limit = 5;
  w.put("A", 3, {"one.example", "two.example"});
  std::string order;
  for (int i = 0; i < 6; ++i) order += w.transport.pick()->destination->key.substr(0, 1);
  CHECK((order == "ototot" || order == "tototo"));
}

TEST_CASE("deliver transport: a small message goes ahead of a large one", "[deliver][transport]") {
  World w;
  w.transport.limits.preemption.loan = 0;
  w.transport.limits.preemption.discount = 0;
  w.put("A", 100, {"one.example"});
  w.put("b", 1, {"one.example"});
  w.put("c", 1, {"one.example"});
  SECTION("one for every five that were delivered") {
    CHECK(w.run(14) == "AAAAAbAAAAAcAA");
  }
  SECTION("on credit, at once, and then no more until it is paid") {
    w.transport.limits.preemption.loan = 1;
    CHECK(w.run(8) == "bAAAAAcA");
  }
  SECTION("half of it will do") {
    w.transport.limits.preemption.discount = 50;
    CHECK(w.run(12) == "AAAbAAAAAcAA");
  }
  SECTION("never, without slots") {
    w.transport.limits.preemption.cost = 0;
    CHECK(w.run(102) == std::string(100, 'A') + "bc");
  }
  SECTION("never, when the large one is too small to earn them") {
    w.transport.limits.preemption.minimum = 30;
    CHECK(w.run(102) == std::string(100, 'A') + "bc");
  }
}

TEST_CASE("deliver transport: of those that may go ahead the one that waits longest for its size", "[deliver][transport]") {
  World w;
  w.transport.limits.preemption.loan = 0;
  w.transport.limits.preemption.discount = 0;
  w.put("A", 100, {"one.example"});
  w.put("b", 4, {"one.example"});
  w.put("c", 1, {"one.example"});
  CHECK(w.run(6) == "AAAAAc");
  CHECK(w.run(24) == std::string(20, 'A') + "bbbb");
}

TEST_CASE("deliver transport: a small message elsewhere goes ahead when all places are taken", "[deliver][transport]") {
  World w;
  w.transport.limits.processes = 1;
  std::vector<std::string> many;
  for (int i = 0; i < 500; ++i) many.push_back("d" + std::to_string(i) + ".example");
  w.put("A", 1, many);
  CHECK(w.run(10) == "AAAAAAAAAA");
  w.put("b", 1, {"elsewhere.example"});
  CHECK(w.run(2) == "bA");
}

TEST_CASE("deliver transport: many overtakers find room in the order", "[deliver][transport]") {
  World w;
  w.transport.limits.preemption = {2, 1000, 100, 0};
  w.put("A", 2000, {"one.example"});
  std::vector<std::shared_ptr<ActiveMessage>> kept;
  // Each is two batches to a destination that then is full, so that it stays in the row.
  for (int i = 0; i < 60; ++i) kept.push_back(w.put("b", 2, {"d" + std::to_string(i) + ".example"}));
  std::vector<Transport::Pick> open;
  for (int i = 0; i < 60; ++i) {
    open.push_back(*w.transport.pick());
    CHECK(open.back().batch.message->id() == "b");
  }
  CHECK(w.transport.pick()->batch.message->id() == "A");
  for (auto& one : open) w.transport.leave(*one.destination);
  CHECK(w.run(60) == std::string(60, 'b'));
  CHECK(w.transport.jobs.size() == 1);
}

TEST_CASE("deliver transport: what waits can be taken away", "[deliver][transport]") {
  World w;
  w.put("A", 2, {"one.example", "two.example"});
  w.put("B", 1, {"one.example"});
  CHECK(w.transport.take_all(w.transport.destination("one.example", "one.example")).size() == 3);
  CHECK(w.run(5) == "AA.");
  CHECK(w.transport.jobs.empty());
}

TEST_CASE("deliver transport: a job keeps its place while recipients are to come", "[deliver][transport]") {
  World w;
  const auto large = w.put("A", 1, {"one.example"});
  large->unread = 5;
  w.put("B", 1, {"one.example"});
  CHECK(w.run(1) == "A");
  w.transport.add(w.transport.destination("one.example", "one.example"), {large, {7}, &w.transport});
  CHECK(w.run(1) == "A");
  large->unread = 0;
  w.transport.forget_done(*large);
  CHECK(large->jobs.empty());
  CHECK(w.run(2) == "B.");
}
