// A service that works, hangs, closes, babbles or lies; connections are kept, bounded, and never out of step.
#include <catch2/catch.hpp>
#include <map>

#include "core/policy/client.h"
#include "tests/support/on_loop.h"
#include "tests/support/scripted_stream.h"

using namespace millrace;
using namespace millrace::policy;
using test::on_loop;

namespace {

// Each connection is a script: what it will say.  Notes connections and requests.
struct World {
  std::deque<std::deque<std::string>> scripts;
  int connections = 0;
  std::deque<std::string> sent;

  Service service(ServiceOptions options = {}, std::shared_ptr<SharedCounts> counts = nullptr) {
    options.name = "test";
    options.retry_delay = std::chrono::milliseconds(1);
    return Service(std::move(options), [this](Deadline) -> Result<std::unique_ptr<net::Stream>> {
      ++connections;
      if (scripts.empty()) return fail(Errc::refused, "nobody");
      auto stream = std::make_unique<Silent>(scripts.front(), &sent.emplace_back());
      scripts.pop_front();
      return stream;
    }, std::move(counts));
  }

  // Answers come only once asked: nothing is readable between requests but an end of file.
  struct Silent : test::ScriptedStream {
    Silent(std::deque<std::string> pieces, std::string* out) : ScriptedStream(std::move(pieces), out) {}
    bool readable() override { return false; }
  };
};

const Attributes kRequest = {{"request", "smtpd_access_policy"}};

}  // namespace

TEST_CASE("policy client: one connection serves many requests", "[policy]") {
  on_loop([] {
    World world;
    world.scripts = {{"action=DUNNO\n\n", "action=RE", "JECT no\n\n"}};
    Service service = world.service();
    CHECK(service.ask(kRequest, Deadline::never(), log::Logger()).value() == "DUNNO");
    CHECK(service.ask(kRequest, Deadline::never(), log::Logger()).value() == "REJECT no");
    CHECK(world.connections == 1);
    CHECK(world.sent[0] == "request=smtpd_access_policy\n\nrequest=smtpd_access_policy\n\n");
  });
}

TEST_CASE("policy client: a closed idle connection costs no try", "[policy]") {
  on_loop([] {
    World world;
    world.scripts = {{"action=DUNNO\n\n"}, {"action=OK\n\n"}};
    ServiceOptions options;
    options.try_limit = 1;
    Service service = world.service(options);
    CHECK(service.ask(kRequest, Deadline::never(), log::Logger()));
    CHECK(service.ask(kRequest, Deadline::never(), log::Logger()).value() == "OK");
    CHECK(world.connections == 2);
  });
}

TEST_CASE("policy client: try_limit tries, then an error", "[policy]") {
  on_loop([] {
    World world;
    world.scripts = {{}, {"nonsense\n\n"}, {"action=OK\n\n"}};
    Service service = world.service();
    CHECK_FALSE(service.ask(kRequest, Deadline::never(), log::Logger()));
    CHECK(world.connections == 2);
    CHECK(service.ask(kRequest, Deadline::never(), log::Logger()).value() == "OK");
    CHECK(world.connections == 3);
    CHECK_FALSE(service.ask(kRequest, Deadline::never(), log::Logger()));
  });
}

TEST_CASE("policy client: who says too much is not asked on that connection again", "[policy]") {
  on_loop([] {
    World world;
    world.scripts = {{"action=DUNNO\n\naction=OK\n\n"}, {"action=REJECT\n\n"}, {"action=\xff\n\n"}};
    Service service = world.service();
    CHECK(service.ask(kRequest, Deadline::never(), log::Logger()).value() == "DUNNO");
    CHECK(service.ask(kRequest, Deadline::never(), log::Logger()).value() == "REJECT");
    CHECK_FALSE(service.ask(kRequest, Deadline::never(), log::Logger()));
  });
}

TEST_CASE("policy client: request_limit, max_ttl and max_idle end a connection", "[policy]") {
  on_loop([] {
    World world;
    world.scripts = {{"action=A\n\n", "action=B\n\n"}, {"action=C\n\n", "action=X\n\n"}, {"action=D\n\n"}};
    ServiceOptions options;
    options.request_limit = 2;
    options.max_idle = std::chrono::milliseconds(20);
    Service service = world.service(options);
    CHECK(service.ask(kRequest, Deadline::never(), log::Logger()).value() == "A");
    CHECK(service.ask(kRequest, Deadline::never(), log::Logger()).value() == "B");
    CHECK(service.ask(kRequest, Deadline::never(), log::Logger()).value() == "C");
    CHECK(net::sleep_until(Deadline::after(std::chrono::milliseconds(30))));
    service.sweep();
    CHECK(service.ask(kRequest, Deadline::never(), log::Logger()).value() == "D");
  });
}

TEST_CASE("policy client: a service that hangs costs its time limit and no more", "[policy]") {
  struct Hanging : test::ScriptedStream {
    Hanging() : ScriptedStream({}) {}
    Result<std::size_t> read_some(char*, std::size_t, Deadline deadline) override {
      if (auto slept = net::sleep_until(deadline); !slept) return tl::unexpected(slept.error());
      return fail(Errc::timeout, "hangs");
    }
  };
  on_loop([] {
    ServiceOptions options;
    options.timeout = std::chrono::milliseconds(50);
    options.retry_delay = std::chrono::milliseconds(1);
    options.max_connections = 1;
    Service service(options, [](Deadline) { return std::make_unique<Hanging>(); });
    const TimePoint start = SteadyClock::now();
    bool other_failed = false;
    REQUIRE(net::Loop::current().spawn(net::Stack::session, [&] {
      other_failed = !service.ask(kRequest, Deadline::after(std::chrono::milliseconds(20)), log::Logger());   // waits for a connection
    }));
    CHECK_FALSE(service.ask(kRequest, Deadline::never(), log::Logger()));
    CHECK(SteadyClock::now() - start < std::chrono::seconds(2));
    CHECK(other_failed);
  });
}

namespace {

struct Counts final : SharedCounts {
  std::map<std::string, std::uint32_t> there;
  std::vector<std::string> names;
  Place enter(const std::string& name) override {
    names.push_back(name);
    return {static_cast<int>(names.size()) - 1, ++there[name]};
  }
  void leave(const Place& place) override { --there[names[static_cast<std::size_t>(place.slot)]]; }
};

}  // namespace

TEST_CASE("policy client: max_connections holds for all processes, idle ones are given up", "[policy]") {
  on_loop([] {
    auto counts = std::make_shared<Counts>();
    World here, there;
    here.scripts = {{"action=DUNNO\n\n"}};
    there.scripts = {{"action=OK\n\n", "action=OK\n\n"}};
    ServiceOptions options;
    options.max_connections = 1;
    options.timeout = std::chrono::milliseconds(150);
    Service first = here.service(options, counts), second = there.service(options, counts);
    CHECK(first.ask(kRequest, Deadline::never(), log::Logger()).value() == "DUNNO");
    CHECK(counts->there["policy test"] == 1);
    // Kept idle by the one: the other waits as long as its timeout allows.
    const TimePoint begin = SteadyClock::now();
    const auto busy = second.ask(kRequest, Deadline::never(), log::Logger());
    REQUIRE(!busy);
    CHECK(busy.error().code == Errc::limit);
    CHECK(SteadyClock::now() - begin < std::chrono::milliseconds(290));
    CHECK(there.connections == 0);
    // Until the sweep of the one sees that somebody waits.
    REQUIRE(net::Loop::current().spawn(net::Stack::session, [&] {
      (void)net::sleep_until(Deadline::after(std::chrono::milliseconds(30)));
      first.sweep();
    }));
    CHECK(second.ask(kRequest, Deadline::never(), log::Logger()).value() == "OK");
    CHECK(counts->there["policy test"] == 1);
    CHECK(counts->there["policy wait test"] == 0);
    CHECK(second.ask(kRequest, Deadline::never(), log::Logger()).value() == "OK");
    CHECK(there.connections == 1);
  });
}

TEST_CASE("policy client: a breaker opens, classes of traffic have an answer of their own, and all is counted", "[policy][breaker]") {
  on_loop([] {
    World world;
    ServiceOptions options;
    options.try_limit = 1;
    options.default_action = "DUNNO";
    options.class_actions[static_cast<std::size_t>(filter::Traffic::null_sender)] = "REJECT";
    options.breaker = {2, std::chrono::seconds(100), std::chrono::seconds(0)};
    Service service = world.service(options);
    for (int i = 0; i < 4; ++i) CHECK_FALSE(service.ask(kRequest, Deadline::never(), log::Logger()));
    CHECK(world.connections == 2);   // then nobody asks
    CHECK(service.failure_action(filter::Traffic::inbound) == "DUNNO");
    CHECK(service.failure_action(filter::Traffic::null_sender) == "REJECT");

    options.breaker.grace = std::chrono::seconds(100);
    filter::SharedFilter shared{};
    options.name = "shared";
    Service waiting(options, [](Deadline) -> Result<std::unique_ptr<net::Stream>> { return fail(Errc::refused, "nobody"); }, nullptr, &shared);
    for (int i = 0; i < 2; ++i) CHECK_FALSE(waiting.ask(kRequest, Deadline::never(), log::Logger()));
    CHECK(waiting.failure_action(filter::Traffic::inbound).starts_with("451 "));
    CHECK(waiting.failure_action(filter::Traffic::null_sender) == "REJECT");
    CHECK(shared.calls == 2);
    CHECK(shared.failures == 2);
    CHECK(shared.is_open());
  });
}
