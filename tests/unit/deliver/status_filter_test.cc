#include "core/deliver/status_filter.h"

#include <catch2/catch.hpp>

using namespace millrace;
using namespace millrace::deliver;

namespace {
using Status = Outcome::Status;

map::Maps filter(std::string_view rules) {
  map::TableSet tables({"/etc", [](const std::string&) {}});
  auto maps = map::Maps::open(tables, rules);
  REQUIRE(maps);
  return *maps;
}

Outcome run(const map::Maps& maps, Status status, const std::string& dsn, const std::string& text) {
  Outcome outcome;
  outcome.status = status;
  outcome.dsn = dsn;
  outcome.text = text;
  filter_status(maps, outcome, log::Logger());
  return outcome;
}
}  // namespace

TEST_CASE("deliver status filter: failures change their kind and their text", "[deliver][filter]") {
  const auto maps = filter("pcre:{ {/^4(\\.\\d+\\.\\d+ .*)/ 5$1}, {/^5\\.1\\.1/ 4.1.1 not now} }");
  Outcome out = run(maps, Status::deferred, "4.3.0", "wait");
  CHECK(out.status == Status::bounced);
  CHECK(out.dsn == "5.3.0");
  CHECK(out.text == "wait");
  out = run(maps, Status::bounced, "5.1.1", "no such user");
  CHECK(out.status == Status::deferred);
  CHECK(out.text == "not now");
  out = run(maps, Status::bounced, "5.7.1", "go away");
  CHECK(out.status == Status::bounced);
  CHECK(out.text == "go away");
}

TEST_CASE("deliver status filter: success and failure stay what they are", "[deliver][filter]") {
  const auto maps = filter("pcre:{ {/^2/ 5.0.0 no}, {/^5/ 2.0.0 yes}, {/^4.1/ nonsense}, {/^4.2/ 4.2.9} }");
  CHECK(run(maps, Status::sent, "2.0.0", "ok").dsn == "2.0.0");
  CHECK(run(maps, Status::bounced, "5.1.1", "no").dsn == "5.1.1");
  CHECK(run(maps, Status::deferred, "4.1.1", "a").text == "a");
  CHECK(run(maps, Status::deferred, "4.2.1", "a").dsn == "4.2.1");
}
