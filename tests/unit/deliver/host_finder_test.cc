#include "core/deliver/host_finder.h"

#include <catch2/catch.hpp>

#include "tests/support/scripted_resolver.h"

using namespace millrace;
using namespace millrace::deliver;
using test::ScriptedResolver;

namespace {
std::string find(ScriptedResolver& dns, const char* nexthop, ClientOptions options = {}) {
  options.randomize = false;
  options.use_ipv6 = false;
  const auto targets = parse_targets(nexthop, {false, 25, true});
  REQUIRE(targets);
  const Hosts hosts = find_hosts(targets->front(), options, dns, Deadline::never());
  if (hosts.list.empty()) return hosts.dsn + " " + hosts.text;
  std::string out;
  for (const Host& host : hosts.list) out += (out.empty() ? "" : " ") + host.named_with_port();
  return out;
}
}  // namespace

TEST_CASE("deliver hosts: MX by preference, address records without MX, literals", "[deliver][hosts]") {
  ScriptedResolver dns;
  dns.mx("one.example", {{20, "b.example"}, {10, "a.example"}, {15, "gone.example"}});
  dns.a("a.example", "192.0.2.1");
  dns.a("b.example", "192.0.2.2");
  dns.a("plain.example", "192.0.2.3");
  CHECK(find(dns, "one.example") == "a.example[192.0.2.1]:25 b.example[192.0.2.2]:25");
  CHECK(find(dns, "one.example:26") == "a.example[192.0.2.1]:26 b.example[192.0.2.2]:26");
  CHECK(find(dns, "plain.example") == "plain.example[192.0.2.3]:25");
  CHECK(find(dns, "[b.example]:27") == "b.example[192.0.2.2]:27");
  CHECK(find(dns, "[192.0.2.9]") == "192.0.2.9[192.0.2.9]:25");
}

TEST_CASE("deliver hosts: what DNS does not give", "[deliver][hosts]") {
  ScriptedResolver dns;
  dns.mx("null.example", {{0, ""}});
  dns.mx("dangling.example", {{10, "gone.example"}});
  dns.temporary("slow.example");
  CHECK(find(dns, "none.example") ==
        "5.4.4 Host or domain name not found. Name service error for name=none.example type=A: Host not found");
  CHECK(find(dns, "dangling.example") ==
        "5.4.4 Host or domain name not found. Name service error for name=gone.example type=A: Host not found");
  CHECK(find(dns, "slow.example") ==
        "4.4.3 Host or domain name not found. Name service error for name=slow.example type=MX: Host not found, try again");
  CHECK(find(dns, "null.example") == "5.1.0 Domain null.example does not accept mail (nullMX)");
}

TEST_CASE("deliver hosts: only exchangers better than ourselves", "[deliver][hosts]") {
  ScriptedResolver dns;
  dns.mx("us.example", {{10, "us-mx.example"}, {20, "b.example"}});
  dns.mx("backup.example", {{10, "a.example"}, {20, "us-mx.example"}, {30, "b.example"}});
  dns.a("us-mx.example", "192.0.2.100");
  dns.a("a.example", "192.0.2.1");
  dns.a("b.example", "192.0.2.2");
  // A better exchanger is named, but has no address: we are not who the mail is for.
  dns.mx("hidden.example", {{10, "gone.example"}, {20, "us-mx.example"}});
  ClientOptions options;
  options.own_addresses = {"192.0.2.100"};
  CHECK(find(dns, "hidden.example", options) == "4.4.4 unable to find primary relay for hidden.example");
  CHECK(find(dns, "us.example", options) == "5.4.6 mail for us.example loops back to myself");
  CHECK(find(dns, "backup.example", options) == "a.example[192.0.2.1]:25");
  CHECK(find(dns, "[192.0.2.100]", options) == "5.4.6 mail for 192.0.2.100 loops back to myself");
  CHECK(find(dns, "[192.0.2.100]:10025", options) == "192.0.2.100[192.0.2.100]:10025");
}

TEST_CASE("deliver hosts: the address limit", "[deliver][hosts]") {
  ScriptedResolver dns;
  for (int i = 1; i < 9; ++i) dns.a("many.example", "192.0.2." + std::to_string(i));
  ClientOptions options;
  options.address_limit = 2;
  CHECK(find(dns, "[many.example]", options) == "many.example[192.0.2.1]:25 many.example[192.0.2.2]:25");
}
