#include "core/daemon/listeners.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>

using namespace millrace;

namespace {

std::vector<std::string> plan(const std::string& main_cf, const std::string& master_cf, config::Findings& findings) {
  const auto config = config::Config::from_text("myhostname = mx.example\nqueue_directory = /q\nmynetworks = 127.0.0.0/8\ninet_protocols = ipv4\n" + main_cf,
                                                master_cf, findings);
  std::vector<std::string> out;
  for (const auto& place : daemon::plan_listeners(*config, findings)) out.push_back(place.at.to_text());
  return out;
}

}  // namespace

TEST_CASE("listeners: inet services listen on each of inet_interfaces", "[daemon]") {
  config::Findings findings;
  CHECK(plan("inet_interfaces = 127.0.0.1, 127.0.0.2", "2525 inet n - n - - smtpd\n", findings) ==
        std::vector<std::string>{"127.0.0.1:2525", "127.0.0.2:2525"});
  CHECK(plan("inet_interfaces = all", "smtp inet n - n - - smtpd\n", findings) == std::vector<std::string>{"0.0.0.0:25"});
  for (const auto& line : findings.lines) UNSCOPED_INFO(line.to_text());
  CHECK_FALSE(findings.has_errors());
}

TEST_CASE("listeners: host:port, unix and pass services name their own place", "[daemon]") {
  config::Findings findings;
  CHECK(plan("", "127.0.0.9:2525 inet n - n - - smtpd\nin unix - - n - - smtpd\npost pass n - n - - smtpd\n", findings) ==
        std::vector<std::string>{"127.0.0.9:2525", "/q/private/in", "/q/public/post"});
}

TEST_CASE("listeners: what cannot be listened on is an error that names it", "[daemon]") {
  config::Findings findings;
  CHECK(plan("", "nosuchport inet n - n - - smtpd\n", findings).empty());
  CHECK(findings.has_errors());
}

TEST_CASE("listeners: sockets stay open over a reload that keeps them", "[daemon]") {
  daemon::Listeners listeners;
  const std::vector<daemon::ListenPlan> first = {{0, {"127.0.0.1", 0, false}}};
  REQUIRE(listeners.open(first).has_value());
  const int fd = listeners.fd(first[0].at);
  CHECK(fd >= 0);
  REQUIRE(listeners.open(first).has_value());
  CHECK(listeners.fd(first[0].at) == fd);
  listeners.close_others({});
  CHECK(listeners.fd(first[0].at) == -1);
}

TEST_CASE("listeners: a place left out is closed, whoever else holds the descriptor", "[daemon]") {
  daemon::Listeners listeners;
  const std::vector<daemon::ListenPlan> plan = {{0, {"127.0.0.1", 0, false}}};
  REQUIRE(listeners.open(plan).has_value());
  const int inherited = ::dup(listeners.fd(plan[0].at));
  const net::Endpoint at = net::local_endpoint(inherited);
  listeners.close_others({});
  const int client = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(at.port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  CHECK(::connect(client, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0);
  ::close(client);
  ::close(inherited);
}
