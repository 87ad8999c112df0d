#include "core/config/master_cf.h"

#include <catch2/catch.hpp>

using namespace millrace::config;

namespace {

std::string problems(std::string_view text) {
  Findings findings;
  parse_master_cf(text, "master.cf", false, findings);
  std::string out;
  for (const auto& line : findings.lines) out += line.to_text() + "\n";
  return out;
}

}  // namespace

TEST_CASE("config master.cf: fields, defaults and continuation", "[config][master_cf]") {
  Findings findings;
  const auto services = parse_master_cf(
      "# c\nsmtp inet n - y - 20 smtpd\n  -o a=1,2\n # c\n  -o { b = x { y } z } -v\nflush unix n - - 1000? 0 flush\n"
      "mine unix - n - - 0 pipe\n  flags=Rq user=filter argv=/bin/x { a b } -o c\n",
      "master.cf", true, findings);
  CHECK(findings.lines.empty());
  REQUIRE(services.size() == 3);
  const Service& smtp = services[0];
  CHECK(smtp.name == "smtp");
  CHECK(smtp.type == "inet");
  CHECK_FALSE(smtp.is_private);
  CHECK(smtp.unprivileged);
  CHECK(smtp.chroot);
  CHECK(smtp.process_limit == 20);
  CHECK(smtp.command == "smtpd");
  CHECK(smtp.where.line == 2);
  CHECK(smtp.verbosity == 1);
  CHECK(smtp.overrides == decltype(smtp.overrides){{"a", "1,2"}, {"b", "x { y } z"}});
  CHECK(services[1].wakeup_s == 1000);
  CHECK(services[1].wakeup_if_used);
  CHECK(services[1].process_limit == 0);
  CHECK(services[2].chroot);   // the default given
  CHECK(services[2].overrides.empty());
  CHECK(services[2].arguments == std::vector<std::string>{"flags=Rq", "user=filter", "argv=/bin/x", "a b", "-o", "c"});
}

TEST_CASE("config master.cf: options in all their spellings", "[config][master_cf]") {
  Findings findings;
  const auto services = parse_master_cf("x unix - - - - - smtp -va -voa=1 -ob=2 -o{c = 3} -vvo { d = 4 } -- -o e\n",
                                        "master.cf", false, findings);
  REQUIRE(services.size() == 1);
  CHECK(services[0].verbosity == 4);
  CHECK(services[0].overrides ==
        decltype(services[0].overrides){{"a", "1"}, {"b", "2"}, {"c", "3"}, {"d", "4"}});
  CHECK(services[0].arguments == std::vector<std::string>{"-a", "--", "-o", "e"});
}

TEST_CASE("config master.cf: mistakes are named with their line and service", "[config][master_cf]") {
  CHECK(problems("2500 inet n - n\n") == "master.cf, line 1: 2500: missing \"wakeup\" field\n");
  CHECK(problems("\n2500 tcp n - n - - smtpd\n") == "master.cf, line 2: 2500: field \"transport type\": bad value: \"tcp\"\n");
  CHECK(problems("2500 inet maybe - n - - smtpd") ==
        "master.cf, line 1: 2500: field \"private\": bad value: \"maybe\"\n"
        "master.cf, line 1: 2500: inet service cannot be private\n");
  CHECK(problems("2500 inet n - n - few smtpd") == "master.cf, line 1: 2500: field \"maxproc\": bad value: \"few\"\n");
  CHECK(problems("2500 inet n - n -1 5x smtpd") ==
        "master.cf, line 1: 2500: field \"wakeup\": bad value: \"-1\"\n"
        "master.cf, line 1: 2500: field \"maxproc\": bad value: \"5x\"\n");
  CHECK(problems("x unix - - - - - -") == "master.cf, line 1: x: field \"command\" has no default value\n");
  CHECK(problems("x unix - - - - - smtp -o") == "master.cf, line 1: x: option -o needs name=value\n");
  CHECK(problems("x unix - - - - - smtp -o a") == "master.cf, line 1: x: -o a: missing '=' after attribute name\n");
  CHECK(problems("x unix - - - - - smtp -o { a = b") == "master.cf, line 1: x: braces do not match: \"{ a = b\"\n");
  CHECK(problems("x unix - - - - - pipe {a}b") == "master.cf, line 1: x: braces do not match: \"{a}b\"\n");
  CHECK(problems("[127.0.0.1 inet n - - - - smtpd") ==
        "master.cf, line 1: [127.0.0.1: missing \"]\" in \"[127.0.0.1\"\n");
}

TEST_CASE("config master.cf: the last entry for a place counts", "[config][master_cf]") {
  Findings findings;
  const auto services = parse_master_cf("smtp inet n - - - 1 smtpd\n25 inet n - - - 2 smtpd\nsmtp unix - - - - 3 smtp\n",
                                        "master.cf", false, findings);
  REQUIRE(services.size() == 2);
  CHECK(services[0].name == "25");
  CHECK(services[0].process_limit == 2);
  REQUIRE(findings.lines.size() == 1);
  CHECK(findings.lines[0].text == "duplicate master.cf entry for service \"25\" -- using the last entry");
}

TEST_CASE("config master.cf: names of inet services", "[config][master_cf]") {
  const auto both = [](std::string_view name) {
    const auto out = parse_inet_name(name);
    return out ? out->host + "|" + out->port : "error";
  };
  CHECK(both("smtp") == "|smtp");
  CHECK(both("127.0.0.1:10025") == "127.0.0.1|10025");
  CHECK(both("[::1]:smtp") == "::1|smtp");
  CHECK(both("[ipv6:::1]:25") == "::1|25");
  CHECK(both("::1:smtp") == "::1|smtp");
  CHECK(both(":25") == "|25");
  CHECK(both("mx.example:submission") == "mx.example|submission");
  for (const char* bad : {"", "host:", "[1.2.3.4]", "[1.2.3.4]x:25", "a b:25", "-x:25", "25x", "65536", "1.2.3:25", "..:25"}) {
    CAPTURE(bad);
    CHECK(both(bad) == "error");
  }
}
