#include <catch2/catch.hpp>

#include "core/net/dns.h"
#include "core/net/host_files.h"
#include "tests/support/dns_responder.h"

using namespace millrace;
using namespace millrace::net;
using namespace millrace::test;

namespace {

std::string mx(unsigned preference, const std::string& host) {
  return u16(preference) + dns_name(host);
}

// "MX(10 mx.example.com)" and so on: one line per answer for whole comparisons.
std::string show(const DnsAnswer& answer) {
  static const char* const kStatus[] = {"ok",        "no_data", "no_name",
                                        "temporary", "bogus",   "invalid"};
  std::string out =
      std::string(kStatus[static_cast<int>(answer.status)]) + " " + answer.canonical_name;
  for (const DnsRecord& record : answer.records) {
    out += " (" + std::to_string(record.preference) + " " + record.value + ")";
  }
  return out;
}

}  // namespace

TEST_CASE("net dns packet: records of each type", "[net][dns]") {
  struct Case {
    DnsType type;
    std::string data, expected;
  };
  const auto c = GENERATE(values<Case>({
      {DnsType::a, std::string("\xC0\x00\x02\x01", 4), "ok x.example (0 192.0.2.1)"},
      {DnsType::a, "\x01\x02\x03", "invalid x.example"},
      {DnsType::aaaa, std::string("\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1", 16),
       "ok x.example (0 2001:db8::1)"},
      {DnsType::mx, mx(10, "mx.example"), "ok x.example (10 mx.example)"},
      {DnsType::mx, mx(0, "."), "ok x.example (0 )"},
      {DnsType::mx, mx(0, "mx.example") + "x", "invalid x.example"},
      {DnsType::mx, u16(5) + std::string("\3a.b\0", 5), "invalid x.example"},
      {DnsType::mx, u16(5) + std::string("\3a\nb\0", 5), "invalid x.example"},
      {DnsType::txt, std::string("\3abc\2de", 7), "ok x.example (0 abcde)"},
      {DnsType::txt, std::string("\0", 1), "ok x.example (0 )"},
      {DnsType::txt, "\4abc", "invalid x.example"},
      {DnsType::txt, "", "invalid x.example"},
      {DnsType::srv, u16(1) + u16(2) + u16(3) + dns_name("s.example"),
       "ok x.example (1 s.example)"},
      {DnsType::ptr, dns_name("p.example"), "ok x.example (0 p.example)"},
      {DnsType::ns, dns_name("n.example"), "ok x.example (0 n.example)"},
      {DnsType::soa, dns_name("n.example") + dns_name("h.example") + std::string(20, 'x'),
       "ok x.example (0 n.example)"},
      {DnsType::tlsa, "\3\1\1h", "ok x.example (0 \3\1\1h)"},
      {DnsType::tlsa, "\3\1\1", "invalid x.example"},
  }));
  CAPTURE(c.expected);
  CHECK(show(parse_dns_answer(
            dns_packet(1, 0, "x.example", c.type, {{"X.Example", c.type, c.data}}), c.type)) ==
        c.expected);
}

TEST_CASE("net dns packet: result codes become Postfix's words", "[net][dns]") {
  const auto why = [](unsigned rcode) {
    return parse_dns_answer(dns_packet(1, rcode, "x.example", DnsType::mx, {}), DnsType::mx).why;
  };
  const std::string head =
      "Host or domain name not found. Name service error for name=x.example type=MX: ";
  CHECK(why(0) == head + "Host found but no data record of requested type");
  CHECK(why(2) == head + "Host not found, try again");
  CHECK(why(3) == head + "Host not found");
  CHECK(parse_dns_answer("", DnsType::mx).status == DnsStatus::invalid);
  CHECK(dns_failure_text("x.example", DnsType::a, DnsStatus::invalid) ==
        "Name service error for name=x.example type=A: Malformed or unexpected name server reply");
}

TEST_CASE("net dns packet: follows CNAMEs in any order, and not in circles", "[net][dns]") {
  const DnsData address{"c.example", DnsType::a, std::string("\x7F\0\0\1", 4)};
  const DnsData first{"a.example", DnsType::cname, dns_name("b.example")};
  const DnsData second{"b.example", DnsType::cname, dns_name("c.example")};
  const auto ask = [](const std::vector<DnsData>& answers, DnsType type = DnsType::a) {
    return show(parse_dns_answer(dns_packet(1, 0, "a.example", type, answers), type));
  };
  CHECK(ask({first, second, address}) == "ok c.example (0 127.0.0.1)");
  CHECK(ask({address, second, first}) == "ok c.example (0 127.0.0.1)");
  CHECK(ask({first, second}) == "no_data a.example");
  CHECK(ask({address}) == "no_data a.example");  // not an answer to what was asked
  CHECK(ask({first, {"b.example", DnsType::cname, dns_name("a.example")}}) == "invalid a.example");
  CHECK(ask({first, second}, DnsType::cname) == "ok a.example (0 b.example)");
}

TEST_CASE("net dns packet: compressed names, and loops in them", "[net][dns]") {
  const auto with_data = [](const std::string& data) {
    std::string packet = dns_packet(1, 0, "mail.example", DnsType::mx, {});
    packet[7] = 1;  // one answer
    packet +=
        "\xC0\x0C" + u16(15) + u16(1) + u32(60) + u16(static_cast<unsigned>(data.size())) + data;
    return show(parse_dns_answer(packet, DnsType::mx));
  };
  CHECK(with_data(u16(7) + std::string("\2mx\xC0\x0C", 5)) ==
        "ok mail.example (7 mx.mail.example)");
  CHECK(with_data(u16(7) + std::string("\2mx\xC0\x11", 5)) == "ok mail.example (7 mx.example)");
  CHECK(with_data(u16(7) + "\xC0\x2C") == "invalid mail.example");  // at itself
  CHECK(with_data(u16(7) + "\xC0\xFF") == "invalid mail.example");  // forwards
  CHECK(with_data(u16(7) + "\xC1\x00") == "invalid mail.example");
  CHECK(with_data(u16(7) + "\x80") == "invalid mail.example");
}

TEST_CASE("net dns packet: no prefix of a packet is taken for the whole", "[net][dns]") {
  const std::string packet = dns_packet(1, 0, "x.example", DnsType::mx,
                                        {{"x.example", DnsType::mx, mx(10, "a.example")},
                                         {"x.example", DnsType::mx, mx(20, "b.example")}});
  for (std::size_t size = 0; size < packet.size(); ++size) {
    CAPTURE(size);
    CHECK(parse_dns_answer(std::string_view(packet).substr(0, size), DnsType::mx).status ==
          DnsStatus::invalid);
  }
  std::string bent = packet;  // every byte wrong in turn: any answer will do, but an answer
  for (std::size_t i = 0; i < bent.size(); ++i) {
    bent[i] = static_cast<char>(bent[i] ^ 0xFF);
    (void)parse_dns_answer(bent, DnsType::mx);
    bent[i] = packet[i];
  }
  std::string query = packet;
  query[2] = 1;
  CHECK(parse_dns_answer(query, DnsType::mx).status == DnsStatus::invalid);
}

TEST_CASE("net dns: reversed addresses", "[net][dns]") {
  CHECK(reverse_name("192.0.2.1") == "1.2.0.192.in-addr.arpa");
  CHECK(reverse_labels("192.0.2.1") == "1.2.0.192");
  CHECK(reverse_name("2001:db8::1") ==
        "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa");
  CHECK(reverse_name("mail.example").empty());
  CHECK(reverse_name("").empty());
  CHECK(reverse_name(std::string_view("1.2.3.4\0x", 9)).empty());
}

TEST_CASE("net hosts file: addresses with names, the rest left out", "[net][dns]") {
  const auto lines = parse_hosts(
      "# comment\n127.0.0.1\tlocalhost lh # x\n\n::0001 ip6\nbad name\n192.0.2.1\n10.0.0.1 a");
  REQUIRE(lines.size() == 3);
  CHECK(lines[0].address == "127.0.0.1");
  CHECK(lines[0].names == std::vector<std::string>{"localhost", "lh"});
  CHECK(lines[1].address == "::1");
  CHECK(lines[2].names == std::vector<std::string>{"a"});
}

TEST_CASE("net resolv.conf: three name servers at most, loopback without one", "[net][dns]") {
  using List = std::vector<std::string>;
  CHECK(parse_resolv_conf("") == List{"127.0.0.1"});
  CHECK(parse_resolv_conf("search x\nnameserver\nnameserver host\n") == List{"127.0.0.1"});
  CHECK(parse_resolv_conf("nameserver 192.0.2.1\n nameserver ::1\nnameserver 127.0.0.1@5353 "
                          "x\nnameserver 1.1.1.1") == List{"192.0.2.1", "::1", "127.0.0.1@5353"});
  CHECK(parse_resolv_conf("nameserver fe80::1%eth0\nnameserver 127.0.0.1@x") ==
        List{"fe80::1%eth0"});
}
