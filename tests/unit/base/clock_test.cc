#include "core/base/clock.h"

#include <catch2/catch.hpp>
#include <cstdlib>
#include <ctime>

#include "core/base/random.h"

using namespace millrace;

TEST_CASE("clock: an RFC 5322 date with the zone's name", "[base][clock]") {
  setenv("TZ", "UTC", 1);
  tzset();
  CHECK(rfc5322_date(1000000000LL * 1000000) == "Sun,  9 Sep 2001 01:46:40 +0000 (UTC)");
  CHECK(syslog_date(1000000000LL * 1000000) == "Sep  9 01:46:40");
}

TEST_CASE("clock: deadlines nest", "[base][clock]") {
  const Deadline near = Deadline::after(std::chrono::milliseconds(1));
  CHECK(Deadline::never().earlier(near).at == near.at);
  CHECK(near.earlier(Deadline::never()).at == near.at);
  CHECK_FALSE(Deadline::never().passed());
  CHECK(Deadline::after(std::chrono::milliseconds(-1)).passed());
}

TEST_CASE("random: bounded and not repeating", "[base][random]") {
  for (int i = 0; i < 1000; ++i) CHECK(random_below(7) < 7);
  CHECK(random_token(20).size() == 20);
  CHECK(random_token(20) != random_token(20));
}
