#include "core/deliver/report.h"

#include <catch2/catch.hpp>

using namespace millrace;
using namespace millrace::deliver;

TEST_CASE("deliver report: delays as Postfix writes them", "[deliver][report]") {
  CHECK(format_delay(0, 2) == "0");
  CHECK(format_delay(4'000, 2) == "0");
  CHECK(format_delay(12'000, 2) == "0.01");
  CHECK(format_delay(100'000, 2) == "0.1");
  CHECK(format_delay(1'234'000, 2) == "1.2");
  CHECK(format_delay(12'340'000, 2) == "12");
  CHECK(format_delay(345'600'000, 2) == "345");
  CHECK(format_delay(-5, 2) == "0");
  CHECK(format_delay(1'234'000, 0) == "1");
}

TEST_CASE("deliver report: the line of a recipient", "[deliver][report]") {
  queue::Entry entry;
  entry.envelope.queue_id = "4ABC";
  entry.envelope.arrival = 1'000'000;
  entry.recipients.resize(1);
  entry.recipients[0].recipient.address = "b@dest.example";
  entry.recipients[0].recipient.original = "B@dest.example";
  Attempt attempt;
  attempt.entry = &entry;
  attempt.recipients = {0};
  attempt.outcomes.resize(1);
  attempt.active = 1'100'000;
  attempt.started = 1'100'000;
  attempt.connected = 1'200'000;
  Outcome& outcome = attempt.outcomes[0];
  outcome.dsn = "2.0.0";
  outcome.text = "250 2.0.0 Ok: queued as X";
  outcome.relay = "mx[192.0.2.1]:25";
  CHECK(recipient_line(attempt, 0, 1'500'000, 2, "sent") ==
        "4ABC: to=<b@dest.example>, relay=mx[192.0.2.1]:25, delay=0.5, delays=0.1/0/0.1/0.3, dsn=2.0.0, status=sent "
        "(250 2.0.0 Ok: queued as X)");
  outcome.connection_use = 3;
  outcome.relay.clear();
  entry.recipients[0].recipient.original = "alias@dest.example";
  CHECK(recipient_line(attempt, 0, 1'500'000, 2, "deferred") ==
        "4ABC: to=<b@dest.example>, orig_to=<alias@dest.example>, relay=none, conn_use=3, delay=0.5, "
        "delays=0.1/0/0.1/0.3, dsn=2.0.0, status=deferred (250 2.0.0 Ok: queued as X)");
}
