#include "core/smtp/anvil.h"

#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <thread>

using namespace millrace::smtp;
using namespace std::chrono_literals;

TEST_CASE("smtp anvil: counts and rates per service and client", "[smtp][anvil]") {
  AnvilTable* table = AnvilTable::map().value();
  Anvil anvil(*table, 0, 60s);
  const auto first = anvil.connect("smtp", "192.0.2.1");
  const auto second = anvil.connect("smtp", "192.0.2.1");
  CHECK(first.count == 1);
  CHECK(second.count == 2);
  CHECK(second.rate == 2);
  CHECK(anvil.connect("smtp", "192.0.2.2").count == 1);
  CHECK(anvil.connect("submission", "192.0.2.1").count == 1);
  anvil.disconnect(first);
  const auto third = anvil.connect("smtp", "192.0.2.1");
  CHECK(third.count == 2);
  CHECK(third.rate == 3);
  CHECK(anvil.message("smtp", "192.0.2.1") == 1);
  CHECK(anvil.message("smtp", "192.0.2.1") == 2);
  CHECK(anvil.recipient("smtp", "192.0.2.1") == 1);
  CHECK(anvil.new_tls("smtp", "192.0.2.1") == 1);
  const auto lines = table->take_statistics(60s);
  REQUIRE(lines.size() == 5);
  CHECK(lines[0].substr(0, 60) == "statistics: max connection rate 3/60s for (smtp:192.0.2.1) a");
  CHECK(lines[4].substr(0, 58) == "statistics: max connection count 2 for (smtp:192.0.2.1) at");
  CHECK(table->take_statistics(60s).empty());
}

TEST_CASE("smtp anvil: a window ends", "[smtp][anvil]") {
  Anvil anvil(*AnvilTable::map().value(), 0, 0s);
  CHECK(anvil.message("smtp", "a") == 1);
  std::this_thread::sleep_for(5ms);
  CHECK(anvil.message("smtp", "a") == 1);
}

TEST_CASE("smtp anvil: other processes see it, and a dead one is cleared", "[smtp][anvil]") {
  AnvilTable* table = AnvilTable::map().value();
  Anvil anvil(*table, 0, 60s);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    Anvil other(*table, 1, 60s);
    for (int i = 0; i < 5; ++i) other.connect("smtp", "a");
    _exit(0);
  }
  REQUIRE(waitpid(child, nullptr, 0) == child);
  CHECK(anvil.connect("smtp", "a").count == 6);
  table->clear_process(1);
  CHECK(anvil.connect("smtp", "a").count == 2);
}

TEST_CASE("smtp anvil: a full table does not count, and old entries make room", "[smtp][anvil]") {
  AnvilTable* table = AnvilTable::map().value();
  Anvil anvil(*table, 0, 60s);
  int refused = 0;
  for (std::size_t i = 0; i < 3 * AnvilTable::kSlots; ++i) refused += anvil.message("smtp", std::to_string(i)) == 0;
  CHECK(refused > 0);
  Anvil later(*table, 0, 0s);   // with no window all is old
  std::this_thread::sleep_for(5ms);
  CHECK(later.message("smtp", "new client") == 1);
}

TEST_CASE("smtp anvil: threads", "[smtp][anvil]") {
  AnvilTable* table = AnvilTable::map().value();
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 4; ++t) {
    threads.emplace_back([table, t] {
      Anvil anvil(*table, t, 60s);
      for (int i = 0; i < 2000; ++i) {
        const auto connection = anvil.connect("smtp", std::to_string(i % 7));
        anvil.message("smtp", std::to_string(i % 7));
        anvil.disconnect(connection);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(Anvil(*table, 0, 60s).connect("smtp", "0").count == 1);
}
