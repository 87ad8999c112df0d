// What answers of DNS lists mean, and many lists at once.
#include "core/dnsbl/lookup.h"
#include "tests/support/on_loop.h"
#include "tests/support/scripted_resolver.h"

using namespace millrace;
using namespace millrace::dnsbl;
using namespace std::chrono_literals;

namespace {

net::DnsAnswer answer(std::vector<std::string> addresses) {
  net::DnsAnswer out;
  out.status = net::DnsStatus::ok;
  std::uint32_t ttl = 600;
  for (std::string& address : addresses) out.records.push_back({ttl -= 100, 0, 0, 0, std::move(address)});
  return out;
}

Site site(std::string_view text) {
  auto parsed = parse_site(text, Weights::taken);
  REQUIRE(parsed);
  return *parsed;
}

}  // namespace

TEST_CASE("dnsbl answers: listed, filtered, refused, failed", "[dnsbl]") {
  const Site filtered = site("bl.example=127.0.0.[2..4]");
  const Filter* const filter = &*filtered.filter;
  CHECK(judge(answer({"127.0.0.2"}), nullptr).listing == Listing::listed);
  CHECK(judge(answer({"127.0.0.9"}), filter).listing == Listing::not_listed);
  const Finding both = judge(answer({"127.0.0.9", "127.0.0.3"}), filter);
  CHECK(both.listing == Listing::listed);
  CHECK(both.addresses == std::vector<std::string>{"127.0.0.3"});
  CHECK(both.ttl == 400);
  CHECK(judge(answer({"127.255.255.254"}), nullptr).listing == Listing::blocked);
  CHECK(judge(answer({"127.255.255.254"}), filter).listing == Listing::blocked);
  CHECK(judge(answer({"127.255.255.254", "127.0.0.2"}), nullptr).listing == Listing::listed);
  const Site asked_for = site("bl.example=127.255.255.[0..255]");
  CHECK(judge(answer({"127.255.255.254"}), &*asked_for.filter).listing == Listing::listed);
  net::DnsAnswer failed;
  failed.why = "Host not found, try again";
  const Finding unknown = judge(failed, nullptr);
  CHECK(unknown.listing == Listing::unknown);
  CHECK(trouble(unknown, "1.bl.example", failed) == "1.bl.example: RBL lookup error: Host not found, try again");
  failed.status = net::DnsStatus::no_name;
  CHECK(judge(failed, nullptr).listing == Listing::not_listed);
}

TEST_CASE("dnsbl reasons: texts are joined up to 500 octets", "[dnsbl]") {
  CHECK(reason(answer({"first line", "second line"})) == "first line / second line");
  CHECK(reason(answer({std::string(500, 'x'), "not any more"})) == std::string(500, 'x'));
  net::DnsAnswer none;
  CHECK(reason(none) == "");
}

TEST_CASE("dnsbl look-up: all lists at once, scores added, one question a list", "[dnsbl]") {
  test::ScriptedResolver resolver;
  resolver.delay = 30ms;
  resolver.give("1.2.0.192.bad.example", net::DnsType::a, {"127.0.0.2", "127.0.0.10"});
  resolver.give("1.2.0.192.good.example", net::DnsType::a, {"127.0.0.1"});
  resolver.give("1.2.0.192.shut.example", net::DnsType::a, {"127.255.255.252"});
  resolver.temporary("1.2.0.192.down.example");
  const std::vector<Site> sites = {site("bad.example=127.0.0.2*3"), site("good.example*-1"), site("bad.example=127.0.0.10*2"),
                                   site("shut.example*8"), site("down.example*8"), site("none.example*8")};
  test::on_loop([&] {
    const Score score = look_up(resolver, sites, "192.0.2.1", Deadline::after(5s), log::Logger());
    CHECK(score.total == 4);
    REQUIRE(score.hits.size() == 3);
    CHECK(score.hits[1].site == &sites[1]);
    CHECK(score.hits[2].addresses == std::vector<std::string>{"127.0.0.10"});
    CHECK(score.ttl == 300);
    CHECK_FALSE(score.complete);
  });
  CHECK(resolver.questions.size() == 5);
  CHECK(resolver.started.size() == 5);
}
