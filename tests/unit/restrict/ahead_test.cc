// DNS side by side: which questions are started when, and that they cost the slowest and not the sum.
#include "tests/support/on_loop.h"
#include "tests/unit/restrict/bench.h"

using namespace millrace;
using namespace std::chrono_literals;
using test::RestrictBench;

namespace {

std::vector<std::string> started(RestrictBench& bench, const std::string& recipient = "b@dest.example") {
  bench.resolver.started.clear();
  bench.mail("a@s.example");
  bench.rcpt(recipient);
  std::vector<std::string> out = bench.resolver.started;
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("look-ahead: nobody is asked about a client that permit_mynetworks accepts", "[restrict][ahead]") {
  RestrictBench bench(
      "smtpd_client_restrictions = permit_mynetworks, reject_rbl_client one.example\n"
      "smtpd_recipient_restrictions = reject_rhsbl_sender two.example, permit_mynetworks, reject_rbl_client three.example\n");
  CHECK(started(bench) == Names{"10.2.0.192.one.example", "10.2.0.192.three.example", "s.example.two.example"});
  bench.facts.client_address = "127.0.0.1";
  CHECK(started(bench) == Names{"s.example.two.example"});
}

TEST_CASE("look-ahead: nobody is asked about what would be refused before", "[restrict][ahead]") {
  RestrictBench bench(
      "smtpd_client_restrictions = reject_rbl_client one.example\n"
      "smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination\n"
      "smtpd_recipient_restrictions = reject_unlisted_recipient, reject_rbl_client two.example, permit, reject_rbl_client never.example\n");
  CHECK(started(bench) == Names{"10.2.0.192.one.example", "10.2.0.192.two.example"});
  CHECK(started(bench, "b@elsewhere.example") == Names{"10.2.0.192.one.example"});
  CHECK(started(bench, "unknown@dest.example") == Names{"10.2.0.192.one.example"});
}

TEST_CASE("look-ahead: what a table or a service will say is not guessed in later lists", "[restrict][ahead]") {
  RestrictBench bench(
      "smtpd_client_restrictions = reject_rbl_client one.example, check_client_access static:DUNNO, reject_rbl_client two.example\n"
      "smtpd_recipient_restrictions = check_recipient_access inline:{ {b@dest.example=REJECT} }, reject_rbl_client three.example\n");
  CHECK(started(bench) == Names{"10.2.0.192.one.example", "10.2.0.192.two.example"});
  CHECK(started(bench, "c@dest.example") ==
        Names{"10.2.0.192.one.example", "10.2.0.192.three.example", "10.2.0.192.two.example"});
}

TEST_CASE("look-ahead: classes are looked into, warn_if_reject does not end a list", "[restrict][ahead]") {
  RestrictBench bench(
      "smtpd_restriction_classes = a, b\na = reject_rbl_client one.example, b\nb = reject_rbl_client two.example\n"
      "smtpd_recipient_restrictions = a, warn_if_reject reject, warn_if_reject reject_rbl_client three.example, reject, "
      "reject_rbl_client never.example\n");
  CHECK(started(bench) == Names{"10.2.0.192.one.example", "10.2.0.192.three.example", "10.2.0.192.two.example"});
}

TEST_CASE("look-ahead: all questions at once, each once a message; one by one when switched off", "[restrict][ahead]") {
  const std::string lists =
      "smtpd_client_restrictions = reject_rbl_client z1.example, reject_rbl_client z2.example, reject_rbl_client z3.example\n"
      "smtpd_recipient_restrictions = reject_rbl_client z4.example, reject_rhsbl_helo z5.example, reject_rbl_client z1.example\n";
  for (const bool ahead : {true, false}) {
    CAPTURE(ahead);
    RestrictBench bench(lists + (ahead ? "" : "smtpd_dns_lookahead = no\n"));
    bench.helo("helo.example");
    bench.mail("a@s.example");
    bench.resolver.parallel = true;
    bench.resolver.delay = 20ms;
    std::chrono::nanoseconds took{};
    test::on_loop([&] {
      const TimePoint begin = SteadyClock::now();
      CHECK(bench.rcpt("b@dest.example") == "ok");
      took = SteadyClock::now() - begin;
      CHECK(bench.rcpt("c@dest.example") == "ok");
    });
    CHECK(bench.resolver.started.size() == 5);
    CHECK(bench.resolver.most_at_once == (ahead ? 5 : 1));
    if (!ahead) CHECK(took >= 100ms);
    CHECK((took < 100ms) == ahead);
  }
}
