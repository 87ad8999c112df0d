#include "core/deliver/concurrency.h"

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
  window.failure();
  CHECK(window.size() == 6);
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
