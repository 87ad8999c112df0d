// Errors of libraries are reported where the parameter stands.
#include "core/daemon/setup.h"

#include <catch2/catch.hpp>

using namespace millrace;

TEST_CASE("setup: an error that begins with a parameter is reported at its place", "[daemon]") {
  config::Findings ignored, findings;
  const auto config = config::Config::from_text("\nrelay_domains = nosuch:/x\n", "", ignored);
  daemon::report_error(findings, *config, "routing", Error{Errc::config, "relay_domains: unsupported"});
  daemon::report_error(findings, *config, "routing", Error{Errc::config, "no_such_parameter: why"});
  daemon::report_error(findings, *config, "routing", Error{Errc::config, "why"});
  REQUIRE(findings.lines.size() == 3);
  CHECK(findings.lines[0].to_text() == "/etc/postfix/main.cf, line 2: relay_domains: unsupported");
  CHECK(findings.lines[1].parameter == "routing");
  CHECK(findings.lines[2].text == "why");
}
