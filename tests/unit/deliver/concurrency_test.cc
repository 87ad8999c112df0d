#include "core/deliver/concurrency.h"

#include <algorithm>
#include <catch2/catch.hpp>

using namespace millrace::deliver;

TEST_CASE("deliver concurrency: feedback forms", "[deliver][concurrency]") {
  CHECK(parse_feedback("1")->at(10) == 1);
  CHECK(parse_feedback("1/4")->at(10) == 0.25);
  CHECK(parse_feedback("1/concurrency")->at(10) == Approx(0.1));
  CHECK(parse_feedback("1 / sqrt_concurrency")->at(16) == Approx(0.25));
  for (const char* bad : {"", "x", "1/", "1/0", "2", "-1", "1/x"}) CHECK_FALSE(parse_feedback(bad));
}

TEST_CASE("deliver concurrency: grows while used, shrinks on failure, dies of failed cohorts", "[deliver][concurrency]") {
  ConcurrencyRules rules;
  rules.initial = 5;
  rules.limit = 7;
  ConcurrencyWindow window(rules);
  CHECK(window.size() == 5);
  window.success(5);
  CHECK(window.size() == 6);
  window.success(6);
  window.success(7);
  CHECK(window.size() == 7);
  window.success(1);
  CHECK(window.size() == 7);
  // The first failure after a growth takes two, each other one takes one.
  window.failure();
  CHECK(window.size() == 5);
  window.failure();
  CHECK(window.size() == 4);
  window.success(4);
  CHECK(window.size() == 5);
  window.failure();
  CHECK(window.size() == 3);
  for (int i = 0; i < 10; ++i) window.failure();
  CHECK(window.dead());
  window.revive();
  CHECK(window.size() == 5);

  rules.initial = 1;
  ConcurrencyWindow single(rules);
  single.failure();
  CHECK(single.dead());
  rules.failed_cohorts = 0;
  ConcurrencyWindow immortal(rules);
  for (int i = 0; i < 100; ++i) immortal.failure();
  CHECK(immortal.size() == 1);
}

TEST_CASE("deliver concurrency: fractions of a step are rounded by half of one", "[deliver][concurrency]") {
  ConcurrencyRules rules;
  rules.initial = 10;
  rules.limit = 20;
  rules.positive = *parse_feedback("1/concurrency");
  rules.negative = *parse_feedback("1/8");
  rules.failed_cohorts = 0;
  ConcurrencyWindow window(rules);
  for (int i = 0; i < 9; ++i) window.success(10);
  CHECK(window.size() == 10);
  window.success(10);
  CHECK(window.size() == 11);
  // -1/8 at once: nothing was saved up.  Then eight to the next one.
  window.failure();
  CHECK(window.size() == 10);
  for (int i = 0; i < 6; ++i) window.failure();
  CHECK(window.size() == 10);
  window.failure();
  CHECK(window.size() == 9);

  rules.negative = *parse_feedback("0");
  ConcurrencyWindow stubborn(rules);
  for (int i = 0; i < 100; ++i) stubborn.failure();
  CHECK(stubborn.size() == 10);
}

TEST_CASE("deliver concurrency: a destination that takes three sees two to four", "[deliver][concurrency]") {
  ConcurrencyRules rules;
  ConcurrencyWindow window(rules);
  std::size_t highest = 0, lowest = 20;
  for (int round = 0; round < 50; ++round) {
    const std::size_t busy = window.size();
    REQUIRE_FALSE(window.dead());
    for (std::size_t i = 0; i < busy; ++i) i < 3 ? window.success(busy) : window.failure();
    if (round > 5) highest = std::max(highest, busy), lowest = std::min(lowest, busy);
  }
  CHECK(lowest >= 2);
  CHECK(highest <= 6);
}
