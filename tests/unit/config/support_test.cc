#include "core/config/support.h"

#include <catch2/catch.hpp>

#include "core/config/services.h"

using namespace millrace::config;

namespace {

std::string findings_of(const std::string& main, const std::string& master = "smtp inet n - n - - smtpd\n") {
  Findings findings;
  Config::from_text("mynetworks = 127.0.0.0/8\n" + main, master, findings, "/c");
  std::string out;
  for (const auto& line : findings.lines) out += (line.is_error ? "fatal: " : "warning: ") + line.to_text() + "\n";
  return out;
}

constexpr const char* kRefused = ": not supported yet; without it mail would be accepted, delivered or protected differently\n";

}  // namespace

TEST_CASE("config support: harmless names warn, others refuse", "[config][support]") {
  CHECK(findings_of("trigger_timeout = 9s\n") == "warning: /c/main.cf, line 2: trigger_timeout: not acted on\n");
  for (const char* name : {"smtp_sasl_password_maps", "postscreen_dnsbl_sites", "smtpd_upstream_proxy_protocol"}) {
    CAPTURE(name);
    const std::string text = findings_of(std::string(name) + " = x\n");
    CHECK(text.substr(0, 8 + 19 + std::string(name).size()) == "fatal: /c/main.cf, line 2: " + std::string(name));
  }
  CHECK(findings_of("smtpd_sasl_auth_enable = yes\n") == std::string("fatal: /c/main.cf, line 2: smtpd_sasl_auth_enable") + kRefused);
}

TEST_CASE("config support: the default, in any spelling, and nothing are silent", "[config][support]") {
  CHECK(findings_of("multi_instance_enable = NO\nqueue_run_delay = 5m\ndaemon_timeout = 5h\nalias_database = hash:/etc/aliases\n") == "");
  CHECK(findings_of("smtp_generic_maps =\nsmtpd_sasl_auth_enable = no\nlmtp_generic_maps = \n") == "");
  CHECK(findings_of("allow_mail_to_files = alias forward\nmulti_instance_name = postfix-a\n") == "");
  CHECK(findings_of("postscreen_greet_action = ignore\nsmtp_dns_support_level = enabled\n") == "");
  CHECK(findings_of("tls_config_file = none\n") == "warning: /c/main.cf, line 2: tls_config_file: not acted on\n");
  CHECK(findings_of("authorized_flush_users =\n") == "");
}

TEST_CASE("config support: names of transports", "[config][support]") {
  CHECK(findings_of("smtp_destination_concurrency_limit = 5\nsmtp_delivery_slot_cost = 4\nuucp_time_limit = 10\n") == "");
  CHECK(findings_of("smtp_destination_concurrency_limit = few\n") ==
        "fatal: /c/main.cf, line 2: smtp_destination_concurrency_limit: bad numerical value: few\n");
  CHECK(findings_of("policy-spf_time_limit = 3600\n", "policy-spf unix - n n - 0 spawn user=x argv=/bin/y\n") ==
        "");
  CHECK(findings_of("policy-spf_time_limit = 3600\n") == "warning: /c/main.cf: unused parameter: policy-spf_time_limit=3600\n");
}

TEST_CASE("config services: what each kind means", "[config][services]") {
  CHECK(findings_of("", "pickup unix n - n 60 1 pickup\ncleanup unix n - n - 0 cleanup\n") == "");
  CHECK(findings_of("", "cleanup unix n - n - 0 cleanup -o header_checks=\n") == "");
  CHECK(findings_of("", "cleanup unix n - n - 0 cleanup -o line_length_limit=100\n") ==
        "warning: /c/master.cf, line 1: line_length_limit: -o of the cleanup service is not acted on\n");
  CHECK(findings_of("", "25 inet n - n - - smtpd -o header_checks=\n") ==
        "warning: /c/master.cf, line 1: header_checks: cleanup's parameter: -o of smtpd does nothing (see cleanup_service_name)\n");
  CHECK(findings_of("", "25 inet n - n - - smtpd -o cleanup_service_name=pre\npre unix n - n - 0 cleanup -o always_bcc=\n") == "");
  CHECK(findings_of("", "25 inet n - n - - smtpd -o cleanup_service_name=pre\n") ==
        "fatal: /c/master.cf, line 1: cleanup_service_name: no cleanup service of this name: pre\n");
  CHECK(findings_of("content_filter = scan:[127.0.0.1]:10024\n", "25 inet n - n - - smtpd\n") ==
        "fatal: /c/main.cf, line 2: content_filter: no transport of this name in master.cf: scan\n");
  CHECK(findings_of("", "smtp inet n - n - 1 postscreen\n") ==
        "fatal: /c/master.cf, line 1: smtp: service command postscreen is not supported\n");
  CHECK(findings_of("", "628 inet n - n - - qmqpd\n") == "fatal: /c/master.cf, line 1: 628: service command qmqpd is not supported\n");
  CHECK(findings_of("", "x unix - - n - - /opt/thing\n") == "fatal: /c/master.cf, line 1: x: service command /opt/thing is not supported\n");
  CHECK(findings_of("", "local unix - n n - - local\n") == "");
  CHECK(findings_of("", "9998 inet n n n - - local\n") == "fatal: /c/master.cf, line 1: 9998: local must be of type unix\n");
  CHECK(findings_of("", "9999 inet n n n - 0 spawn user=x argv=/bin/y\n") == "");
  CHECK(findings_of("", "x pass - n n - 0 spawn user=x argv=/bin/y\n") ==
        "fatal: /c/master.cf, line 1: x: spawn cannot be of type pass\n");
  CHECK(findings_of("", "smtpd fifo - - n - - smtpd\n") == "fatal: /c/master.cf, line 1: smtpd: smtpd cannot be of type fifo\n");
  CHECK(findings_of("", "smtpd pass - - n - - smtpd\nmine unix - - n - - smtp -o smtp_helo_name=x\n") == "");
  CHECK(findings_of("", "smtp inet n - n - - smtpd -o smtp_sasl_password_maps=hash:/x -o trigger_timeout=9s\n") ==
        std::string("fatal: /c/master.cf, line 1: smtp_sasl_password_maps") + kRefused +
        "warning: /c/master.cf, line 1: trigger_timeout: not acted on\n");
}

TEST_CASE("config unused: mistyped names are told as Postfix does", "[config][unused]") {
  CHECK(findings_of("smtpd_restrictions_classes = foo\n") ==
        "warning: /c/main.cf: unused parameter: smtpd_restrictions_classes=foo\n");
  CHECK(findings_of("foo = permit\nsmtpd_restriction_classes = foo\n") == "");
  CHECK(findings_of("foo = x\nsmtpd_banner = $foo\n") == "");
  CHECK(findings_of("foo = x\nbar = $foo\n") == "warning: /c/main.cf: unused parameter: bar=$foo\n");
  CHECK(findings_of("smtpd_banner = ${foo?x}y\n") == "warning: /c/main.cf: undefined parameter: foo\n");
  CHECK(findings_of("foo = x\n", "smtp inet n - n - - smtpd -o smtpd_banner=$foo -o bar=1\n") ==
        "warning: /c/master.cf: unused parameter: bar=1\n");
  CHECK(findings_of("smtpd_banner = x$bar\n", "smtp inet n - n - - smtpd -o bar=1\n") == "");
  CHECK(findings_of("smtpd_client_connection_limit_exceptions = 127.0.0.1\n") == "");
}

TEST_CASE("config services: master_service_disable", "[config][services]") {
  const auto disabled = [](const std::string& words) {
    Findings findings;
    const auto config = Config::from_text("master_service_disable = " + words + "\n",
                                          "smtp inet n - n - - smtpd\n127.0.0.1:587 inet n - n - - smtpd\n"
                                          "qmgr unix n - n 300 1 qmgr\nsmtp unix - - n - - smtp\nfoo.bar unix - - n - - smtp\n",
                                          findings, "/c");
    if (findings.has_errors()) return std::string("error");
    std::string out;
    for (const Service& service : config->services()) {
      if (service.disabled) out += service.name + "/" + service.type + " ";
    }
    return out;
  };
  CHECK(disabled("") == "");
  CHECK(disabled("inet") == "smtp/inet 127.0.0.1:587/inet ");
  CHECK(disabled("smtp/inet") == "smtp/inet ");
  CHECK(disabled("smtp.unix, foo.bar.unix") == "smtp/unix foo.bar/unix ");
  CHECK(disabled("!smtp/inet inet") == "127.0.0.1:587/inet ");
  for (const char* qmgr : {"qmgr", "qmgr.fifo", "qmgr/fifo", "qmgr.unix", "qmgr/unix"}) CHECK(disabled(qmgr) == "qmgr/unix ");
  for (const char* bad : {"smtp", "*", "all", "smtp/inett", "smtp.", "/inet2"}) CHECK(disabled(bad) == "error");
}

TEST_CASE("support: tables that will be plugins are refused where they are named", "[config][support]") {
  Findings findings;
  const auto config = Config::from_text("mine = mysql:/etc/x\nvirtual_alias_maps = hash:/a, $mine proxy:pgsql:/etc/y\n"
                                        "smtpd_sender_restrictions = check_sender_access ldap:/etc/z\naddress_verify_map = sdbm:/v\n"
                                        "smtp_tls_session_cache_database = sdbm:/c\nluser_relay = nis\n",
                                        "25 inet n - n - - smtpd -o transport_maps=unionmap:{sqlite:/q}\n", findings);
  std::vector<std::string> errors;
  for (const auto& line : findings.lines) {
    if (line.is_error) errors.push_back(std::to_string(line.where.line) + " " + line.parameter + " " + line.text.substr(0, line.text.find(": tables")));
  }
  CHECK(errors == std::vector<std::string>{"1 mine \"mysql:/etc/x\"", "3 smtpd_sender_restrictions \"ldap:/etc/z\"",
                                           "2 virtual_alias_maps \"pgsql:/etc/y\"", "1 transport_maps \"sqlite:/q\""});
}
