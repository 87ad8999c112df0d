// The real postgrey on a unix socket: deferred, then let pass.  Skipped where it is not installed.
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>

#include "core/config/config.h"
#include "core/policy/client.h"
#include "tests/support/on_loop.h"

using namespace millrace;
using namespace millrace::policy;

TEST_CASE("policy client: postgrey greylists and lets pass", "[policy][postgrey]") {
  if (::access("/usr/sbin/postgrey", X_OK) != 0) {
    WARN("postgrey is not installed");
    return;
  }
  char pattern[] = "/tmp/mr-grey-XXXXXX";
  const std::string directory = ::mkdtemp(pattern);
  const std::string socket = directory + "/socket";
  REQUIRE(::chmod(directory.c_str(), 0777) == 0);   // started by root, postgrey becomes its own user
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    const int null = ::open("/dev/null", O_RDWR);
    for (int fd = 0; fd < 3; ++fd) ::dup2(null, fd);
    const std::string where = "--unix=" + socket, base = "--dbdir=" + directory;
    const std::string user = "--user=" + (::getuid() == 0 ? "postgrey" : std::to_string(::getuid()));
    ::execl("/usr/sbin/postgrey", "postgrey", where.c_str(), base.c_str(), user.c_str(), "--delay=1", static_cast<char*>(nullptr));
    ::_exit(127);
  }
  for (int i = 0; i < 100 && !std::filesystem::exists(socket); ++i) ::usleep(50'000);

  test::on_loop([&] {
    config::Findings findings;
    const auto config = config::Config::from_text("smtpd_policy_service_try_limit = 10\n", "", findings);
    Pool pool("/nowhere");
    const auto service = pool.open("unix:" + socket, config->params(), false);
    REQUIRE(service);
    const Attributes request = {{"request", "smtpd_access_policy"}, {"protocol_state", "RCPT"},
                                {"protocol_name", "ESMTP"},         {"client_address", "198.51.100.7"},
                                {"client_name", "unknown"},         {"helo_name", "client.example"},
                                {"sender", "a@sender.example"},     {"recipient", "b@dest.example"},
                                {"instance", "1.2.3.4"},            {"size", std::int64_t{0}}};
    const auto first = (*service)->ask(request, Deadline::after(std::chrono::seconds(10)), log::Logger());
    REQUIRE(first);
    CHECK(first->starts_with("DEFER_IF_PERMIT"));
    CHECK(net::sleep_until(Deadline::after(std::chrono::milliseconds(2100))));
    Attributes again = request;
    again[8].second = "1.2.3.5";
    const auto second = (*service)->ask(again, Deadline::after(std::chrono::seconds(10)), log::Logger());
    REQUIRE(second);
    CHECK(second->starts_with("PREPEND X-Greylist: delayed"));
  });
  ::kill(child, SIGTERM);
  ::waitpid(child, nullptr, 0);
  std::filesystem::remove_all(directory);
}
