#include <fstream>

#include "core/net/dns.h"
#include "tests/support/dns_responder.h"
#include "tests/support/on_loop.h"

using namespace millrace;
using namespace millrace::net;
using namespace millrace::test;
using namespace std::chrono_literals;

namespace {

// A file that holds `text` while this lives.
struct TemporaryFile {
  explicit TemporaryFile(const std::string& text) {
    static int count = 0;
    path =
        "/tmp/millrace-resolver-test-" + std::to_string(getpid()) + "-" + std::to_string(++count);
    write(text);
  }
  ~TemporaryFile() { ::unlink(path.c_str()); }
  void write(const std::string& text) const { std::ofstream(path) << text; }
  std::string path;
};

Deadline soon() { return Deadline::after(10s); }

}  // namespace

TEST_CASE("net resolver: asks the forwarder of resolv.conf, and caches", "[net][resolver]") {
  DnsResponder server;
  server.set("mail.test", DnsType::mx,
             {{"mail.test", DnsType::mx, u16(10) + dns_name("mx.mail.test")}});
  server.set("alias.example", DnsType::a,
             {{"alias.example", DnsType::cname, dns_name("real.example")},
              {"real.example", DnsType::a, std::string("\x0A\0\0\1", 4)}});
  server.set_a("real.example", "10.0.0.1");  // libunbound asks for the target itself
  server.set("1.0.0.10.in-addr.arpa", DnsType::ptr,
             {{"1.0.0.10.in-addr.arpa", DnsType::ptr, dns_name("real.example")}});
  server.set("empty.example", DnsType::a, {});
  server.set("broken.example", DnsType::a, {}, 2);
  const TemporaryFile conf("nameserver " + server.forwarder() + "\n");
  on_loop([&] {
    const auto resolver = make_resolver({conf.path, ""});
    DnsAnswer answer = resolver->query("mail.test.", DnsType::mx, soon());
    REQUIRE(answer.status == DnsStatus::ok);
    REQUIRE(answer.records.size() == 1);
    CHECK(answer.records[0].value == "mx.mail.test");
    CHECK(answer.records[0].preference == 10);
    const int asked = server.asked();
    CHECK(resolver->query("Mail.TEST", DnsType::mx, soon()).status == DnsStatus::ok);
    CHECK(server.asked() == asked);

    answer = resolver->query("alias.example", DnsType::a, soon());
    REQUIRE(answer.status == DnsStatus::ok);
    CHECK(answer.canonical_name == "real.example");
    CHECK(answer.records[0].value == "10.0.0.1");
    CHECK(resolver->query(reverse_name("10.0.0.1"), DnsType::ptr, soon()).status == DnsStatus::ok);
    CHECK(resolver->query("empty.example", DnsType::a, soon()).status == DnsStatus::no_data);
    answer = resolver->query("nowhere.example", DnsType::a, soon());
    CHECK(answer.status == DnsStatus::no_name);
    CHECK(answer.why ==
          "Host or domain name not found. Name service error for name=nowhere.example type=A: Host "
          "not found");
    CHECK(resolver->query("broken.example", DnsType::a, soon()).status == DnsStatus::temporary);
  });
}

TEST_CASE("net resolver: a name that is none is not asked for", "[net][resolver]") {
  DnsResponder server;
  const TemporaryFile conf("nameserver " + server.forwarder() + "\n");
  on_loop([&] {
    const auto resolver = make_resolver({conf.path, ""});
    for (const std::string& name :
         {std::string(), std::string("a..b"), std::string(".a"), std::string(200, 'x'),
          std::string("a\\046b"), std::string("a\0b", 3), std::string(64, 'x'), std::string("a\nb"),
          std::string(300, '.')}) {
      CHECK(resolver->query(name, DnsType::a, soon()).status == DnsStatus::invalid);
    }
    CHECK(server.asked() == 0);
    server.set_a("xn--bcher-kva.example", "192.0.2.7");
    CHECK(resolver
              ->query("b\xC3\xBC"
                      "cher.example",
                      DnsType::a, soon())
              .status == DnsStatus::ok);
  });
}

TEST_CASE("net resolver: a deadline ends the wait, the answer still comes for the cache",
          "[net][resolver]") {
  DnsResponder server;
  server.set("slow.example", DnsType::a, {}, 16);  // silence
  const TemporaryFile conf("nameserver " + server.forwarder() + "\n");
  on_loop([&] {
    const auto resolver = make_resolver({conf.path, ""});
    const TimePoint start = SteadyClock::now();
    const DnsAnswer answer = resolver->query("slow.example", DnsType::a, Deadline::after(50ms));
    CHECK(answer.status == DnsStatus::temporary);
    CHECK(answer.why ==
          "Host or domain name not found. Name service error for name=slow.example type=A: Host "
          "not found, try "
          "again");
    CHECK(SteadyClock::now() - start >= 50ms);
    CHECK(SteadyClock::now() - start < 5s);
    server.set_a("slow.example", "192.0.2.9");
    CHECK(resolver->query("slow.example", DnsType::a, soon()).status == DnsStatus::ok);
  });
}

TEST_CASE(
    "net resolver: many questions at once, prefetch, and a resolver that goes with questions open",
    "[net][resolver]") {
  DnsResponder server;
  for (int i = 0; i < 300; ++i) server.set_a("h" + std::to_string(i) + ".example", "192.0.2.1");
  server.set("silent.example", DnsType::a, {}, 16);
  const TemporaryFile conf("nameserver " + server.forwarder() + "\n");
  on_loop([&] {
    const auto resolver = make_resolver({conf.path, ""});
    int left = 300, right = 0;
    Event ended;
    for (int i = 0; i < 300; ++i) {
      REQUIRE(Loop::current().spawn(Stack::session, [&, i] {
        const DnsAnswer answer =
            resolver->query("h" + std::to_string(i) + ".example", DnsType::a, soon());
        if (answer.status == DnsStatus::ok) ++right;
        if (--left == 0) ended.set();
      }));
    }
    CHECK(ended.wait(Deadline::after(30s)));
    CHECK(right == 300);
    resolver->prefetch("silent.example", DnsType::a);
    resolver->prefetch("h1.example", DnsType::a);
    (void)sleep_until(Deadline::after(5ms));
  });
}

TEST_CASE("net resolver: looks at resolv.conf again when it changes", "[net][resolver]") {
  DnsResponder first, second;
  first.set_a("a.example", "192.0.2.1");
  second.set_a("a.example", "192.0.2.2");
  const TemporaryFile conf("nameserver " + first.forwarder() + "\n");
  on_loop([&] {
    const auto resolver = make_resolver({conf.path, ""});
    CHECK(resolver->query("a.example", DnsType::a, soon()).records.at(0).value == "192.0.2.1");
    conf.write("# the other one\nnameserver " + second.forwarder() + "\n");
    (void)sleep_until(Deadline::after(1100ms));
    CHECK(resolver->query("a.example", DnsType::a, soon()).records.at(0).value == "192.0.2.2");
  });
}

TEST_CASE("net resolver: a server that is away does not stay away", "[net][resolver]") {
  DnsResponder server;
  server.set("a.example", DnsType::a, {}, 16);
  server.set_a("b.example", "192.0.2.2");
  const TemporaryFile conf("nameserver " + server.forwarder() + "\n");
  on_loop([&] {
    const auto resolver = make_resolver({conf.path, ""});
    CHECK(resolver->query("a.example", DnsType::a, Deadline::after(1500ms)).status ==
          DnsStatus::temporary);
    CHECK(resolver->query("b.example", DnsType::a, soon()).status == DnsStatus::ok);
  });
}

TEST_CASE("net client names: as Postfix has them", "[net][resolver]") {
  DnsResponder server;
  const auto ptr = [&](const std::string& address, const std::string& name) {
    server.set(reverse_name(address), DnsType::ptr,
               {{reverse_name(address), DnsType::ptr, dns_name(name)}});
  };
  ptr("192.0.2.1", "good.example");
  server.set_a("good.example", "192.0.2.1");
  ptr("192.0.2.2", "forged.example");
  server.set_a("forged.example", "192.0.2.99");
  ptr("192.0.2.3", "gone.example");
  ptr("192.0.2.4", "shaky.example");
  server.set("shaky.example", DnsType::a, {}, 2);
  ptr("192.0.2.5", "192.0.2.5");
  server.set(reverse_name("192.0.2.6"), DnsType::ptr, {}, 2);
  ptr("192.0.2.8", "empty.example");
  server.set("empty.example", DnsType::a, {});
  ptr("192.0.2.9", "bad-.example");
  const TemporaryFile conf("nameserver " + server.forwarder() + "\n");
  const TemporaryFile hosts("127.0.0.1 localhost\n192.0.2.7 listed.example\n");
  struct Case {
    std::string address, name, reverse;
    HostNames::Status name_status, reverse_status;
    std::string warning;
  };
  using S = HostNames::Status;
  const std::vector<Case> cases = {
      {"192.0.2.1", "good.example", "good.example", S::ok, S::ok, ""},
      {"192.0.2.2", "unknown", "forged.example", S::forged, S::ok,
       "hostname forged.example does not resolve to address 192.0.2.2"},
      {"192.0.2.3", "unknown", "gone.example", S::forged, S::ok,
       "hostname gone.example does not resolve to address 192.0.2.3: Name or service not known"},
      {"192.0.2.4", "unknown", "shaky.example", S::temporary, S::ok,
       "hostname shaky.example does not resolve to address 192.0.2.4: Temporary failure in name "
       "resolution"},
      {"192.0.2.5", "unknown", "unknown", S::not_found, S::not_found, ""},
      {"192.0.2.6", "unknown", "unknown", S::temporary, S::temporary, ""},
      {"192.0.2.7", "listed.example", "listed.example", S::ok, S::ok, ""},
      {"192.0.2.8", "unknown", "empty.example", S::forged, S::ok,
       "hostname empty.example does not resolve to address 192.0.2.8: No address associated with "
       "hostname"},
      {"192.0.2.9", "unknown", "unknown", S::not_found, S::not_found, ""},
      {"192.0.2.10", "unknown", "unknown", S::not_found, S::not_found, ""},
      {"127.0.0.1", "localhost", "localhost", S::ok, S::ok, ""},
      {"2001:db8::1", "unknown", "unknown", S::not_found, S::not_found, ""},
      {"", "unknown", "unknown", S::not_found, S::not_found, ""},
  };
  on_loop([&] {
    const auto resolver = make_resolver({conf.path, ""});
    for (const Case& c : cases) {
      CAPTURE(c.address);
      const HostNames names = client_names(*resolver, c.address, soon(), hosts.path);
      CHECK(names.name == c.name);
      CHECK(names.reverse == c.reverse);
      CHECK(names.name_status == c.name_status);
      CHECK(names.reverse_status == c.reverse_status);
      CHECK(names.warning == c.warning);
    }
  });
}
