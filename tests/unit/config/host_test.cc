#include "core/config/host.h"

#include <catch2/catch.hpp>

using namespace millrace::config;

TEST_CASE("config host: name and domain complete each other", "[config][host]") {
  HostFacts host{.hostname = "mx"};
  CHECK(default_myhostname(host, "") == "mx.localdomain");
  CHECK(default_myhostname(host, "example.com") == "mx.example.com");
  host.hostname = "mx.example.org";
  CHECK(default_myhostname(host, "example.com") == "mx.example.org");
  CHECK(default_mydomain("mx.example.org") == "example.org");
  CHECK(default_mydomain("mx") == "localdomain");
}

TEST_CASE("config host: mynetworks follows style, interfaces and protocols", "[config][host]") {
  const HostFacts host{"mx",
                       {{"127.0.0.1", "255.0.0.0"},
                        {"192.0.2.77", "255.255.255.192"},
                        {"10.1.2.3", "255.255.0.0"},
                        {"::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
                        {"2001:db8::5:1", "ffff:ffff:ffff:ffff::"}}};
  const auto networks = [&](const char* style, const char* interfaces, const char* protocols) {
    return default_mynetworks(host, style, interfaces, protocols).value_or("error");
  };
  CHECK(networks("host", "all", "all") == "127.0.0.1/32 192.0.2.77/32 10.1.2.3/32 [::1]/128 [2001:db8::5:1]/128");
  CHECK(networks("subnet", "all", "ipv4") == "127.0.0.0/8 192.0.2.64/26 10.1.0.0/16");
  CHECK(networks("class", "all", "ipv4") == "127.0.0.0/8 192.0.2.0/24 10.0.0.0/8");
  CHECK(networks("subnet", "all", "ipv6") == "[::1]/128 [2001:db8::]/64");
  CHECK(networks("subnet", "loopback-only", "all") == "127.0.0.0/8 [::1]/128");
  CHECK(networks("host", "127.0.0.1, [192.0.2.77]", "ipv4, ipv6") == "127.0.0.1/32 192.0.2.77/32");
  CHECK(networks("host", "192.0.2.1", "all") == "error");
  CHECK(networks("hosts", "all", "all") == "error");
  CHECK(networks("host", "", "all") == "");
}
