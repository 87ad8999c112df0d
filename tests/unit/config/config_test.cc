#include "core/config/config.h"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>

#include "core/config/names.h"

using namespace millrace::config;
using std::chrono::seconds;

namespace {

constexpr const char* kMaster = "smtp inet n - n - - smtpd\nrelay unix - - n - - smtp\n";
const std::string kMain = "myhostname = mx.example.com\nmynetworks = 127.0.0.0/8\ncompatibility_level = 3.6\n";

struct Loaded {
  std::shared_ptr<const Config> config;
  std::string text;   // findings
};

Loaded load(const std::string& main, const std::string& master = kMaster) {
  Findings findings;
  Loaded out{Config::from_text(kMain + main, master, findings), ""};
  for (const auto& line : findings.lines) out.text += (line.is_error ? "fatal: " : "warning: ") + line.to_text() + "\n";
  return out;
}

}  // namespace

TEST_CASE("config: every default parses", "[config]") {
  const auto [config, text] = load("");
  CHECK(text == "");
  const Params& params = config->params();
  CHECK(params.mydomain == "example.com");
  CHECK(params.smtpd_banner == "mx.example.com ESMTP Millrace");
  CHECK(params.smtpd_timeout == seconds(300));
  CHECK(params.smtpd_hard_error_limit == 20);
  CHECK(params.delay_warning_time == seconds(0));
  CHECK(params.maximal_queue_lifetime == seconds(5 * 86400));
  CHECK(params.message_size_limit == 10240000);
  CHECK(params.smtpd_helo_required == false);
  CHECK(params.parent_domain_matches_subdomains.substr(0, 15) == "debug_peer_list");
  CHECK(params.default_rbl_reply.find("${rbl_reason?; $rbl_reason}") != std::string::npos);
  CHECK(params.smtpd_forbid_bare_newline == "normalize");
  CHECK(params.smtpd_forbid_unauth_pipelining);
  CHECK(params.smtpd_per_request_deadline == false);
}

TEST_CASE("config: every default of every known name expands and fits its type", "[config]") {
  const auto [config, text] = load("");
  for (const NameRow& row : name_rows()) {
    CAPTURE(row.name);
    if (row.type == ValueType::raw) continue;
    const auto value = config->try_expand(row.fallback);
    REQUIRE(value);
    std::string why;
    const bool is_computed = row.name == "myhostname" || row.name == "mydomain";
    CHECK((is_computed || check_value(row, *value, why)));
  }
}

TEST_CASE("config: older compatibility levels bring older defaults back", "[config]") {
  const auto params = [](const std::string& level) { return load("compatibility_level = " + level + "\n").config->params(); };
  const Params old = params("0"), two = params("2"), now = params("3.6");
  CHECK(old.append_dot_mydomain);
  CHECK_FALSE(two.append_dot_mydomain);
  CHECK_FALSE(old.smtputf8_enable);
  CHECK(two.smtputf8_enable);
  CHECK(old.relay_domains == "mx.example.com, localhost.example.com, localhost");
  CHECK(now.relay_domains == "");
  CHECK(old.smtpd_relay_restrictions == "");
  CHECK(now.smtpd_relay_restrictions == "permit_mynetworks, permit_sasl_authenticated, defer_unauth_destination");
  CHECK_FALSE(two.smtpd_relay_before_recipient_restrictions);
  CHECK(now.smtpd_relay_before_recipient_restrictions);
  CHECK(old.mynetworks_style == "subnet");
  CHECK(now.mynetworks_style == "host");
  CHECK(load("compatibility_level = 0\n").config->value("smtpd_tls_fingerprint_digest") == "md5");
  CHECK(load("").config->value("smtpd_tls_fingerprint_digest") == "sha256");
  CHECK(load("compatibility_level = 0\n", "x unix - - - - - smtp\n").config->services()[0].chroot);
  CHECK_FALSE(load("", "x unix - - - - - smtp\n").config->services()[0].chroot);
}

TEST_CASE("config: a service's -o values come on top", "[config]") {
  const auto [config, text] =
      load("greeting = hello\nsmtpd_banner = $greeting\n",
           "smtp inet n - n - - smtpd -o greeting=hi -o stress=yes -o myhostname=out.example.org\n");
  CHECK(text == "");
  CHECK(config->params().smtpd_banner == "hello");
  CHECK(config->params().smtpd_timeout == seconds(300));
  const auto own = config->params_for(config->services()[0], nullptr);
  CHECK(own->smtpd_banner == "hi");
  CHECK(own->smtpd_timeout == seconds(10));
  CHECK(own->smtpd_hard_error_limit == 1);
  CHECK(own->smtpd_per_request_deadline);
  CHECK(own->mydomain == "example.org");
  CHECK(config->value("greeting", &config->services()[0]) == "hi");
}

TEST_CASE("config: errors name file, line and parameter", "[config]") {
  CHECK(load("smtpd_timeout = 5x\n").text == "fatal: /etc/postfix/main.cf, line 4: smtpd_timeout: bad time value: 5x\n");
  CHECK(load("smtpd_helo_required = perhaps\n").text ==
        "fatal: /etc/postfix/main.cf, line 4: smtpd_helo_required: bad boolean value: perhaps\n");
  CHECK(load("smtpd_recipient_limit = many\n").text ==
        "fatal: /etc/postfix/main.cf, line 4: smtpd_recipient_limit: bad numerical value: many\n");
  CHECK(load("smtpd_recipient_limit = 0\n").text ==
        "fatal: /etc/postfix/main.cf, line 4: smtpd_recipient_limit: value 0 is below 1\n");
  CHECK(load("\nsmtpd_banner =\n").text == "fatal: /etc/postfix/main.cf, line 5: smtpd_banner: the value must not be empty\n");
  CHECK(load("smtpd_banner = ${myhostname ESMTP\n").text ==
        "fatal: /etc/postfix/main.cf, line 4: smtpd_banner: \"}\" is missing near \"${myhostname ESMTP\"\n");
  CHECK(load("one = $two\ntwo = $one\nsmtpd_banner = $one ESMTP\n").text ==
        "fatal: /etc/postfix/main.cf, line 6: smtpd_banner: parameters name each other, or are nested too deeply\n");
  CHECK(load("", "25 inet n - n - - smtpd\n -o smtpd_timeout=1y\n").text ==
        "fatal: /etc/postfix/master.cf, line 1: smtpd_timeout: bad time value: 1y\n");
  CHECK(load("compatibility_level = new\n").text.find("compatibility_level: bad compatibility level: new") != std::string::npos);
  CHECK(load("relayhost = mx.example.com\n").text == "fatal: /etc/postfix/main.cf, line 4: relayhost: must not be the same as myhostname\n");
}

TEST_CASE("config: transports have their own limits", "[config]") {
  const auto [config, text] = load("relay_destination_concurrency_limit = 3\nmine_destination_rate_delay = 2m\n",
                                   "relay unix - - n - - smtp\nmine unix - - n - - smtp\n");
  CHECK(text == "");
  CHECK(config->transport_number("relay", "destination_concurrency_limit") == 3);
  CHECK(config->transport_number("mine", "destination_concurrency_limit") == 20);
  CHECK(config->transport_number("unheard-of", "initial_destination_concurrency") == 5);
  CHECK(config->transport_number("local", "destination_concurrency_limit") == 2);
  CHECK(config->transport_time("mine", "destination_rate_delay") == seconds(120));
  CHECK(config->transport_time("relay", "destination_rate_delay") == seconds(0));
  REQUIRE(config->transport("mine") != nullptr);
  CHECK(config->transport("mine")->command == "smtp");
  CHECK(config->transport("smtp") == nullptr);
}

TEST_CASE("config: names of the program itself", "[config]") {
  const auto [config, text] = load("process_id = 1\n");
  CHECK(text == "warning: /etc/postfix/main.cf, line 4: process_id: read-only parameter: the value is ignored\n");
  CHECK(config->value("process_id") != "1");
  CHECK(config->value("config_directory") == "/etc/postfix");
  CHECK_FALSE(config->value("nosuch"));
  CHECK_FALSE(config->is_set("smtpd_banner"));
  CHECK(config->where("smtpd_banner").line == 0);
  CHECK(config->where("process_id").line == 4);
}

TEST_CASE("config: a missing directory is an error, not an exception", "[config]") {
  Findings findings;
  const auto config = Config::load("/nowhere/at/all", findings);
  REQUIRE(config);
  CHECK(findings.has_errors());
  CHECK(config->params().smtpd_recipient_limit == 1000);
}

TEST_CASE("config: Debian's myorigin names a file", "[config]") {
  char path[] = "/tmp/millrace-mailname-XXXXXX";
  const int fd = ::mkstemp(path);
  REQUIRE(fd >= 0);
  REQUIRE(::write(fd, "mail.example.org \nmore\n", 23) == 23);
  ::close(fd);
  Findings findings;
  const std::string main = std::string("myorigin = ") + path + "\nmine = x.$myorigin\n";
  const auto config = Config::from_text(main, "", findings);
  CHECK_FALSE(findings.has_errors());
  CHECK(config->params().myorigin == "mail.example.org");
  CHECK(config->value("myorigin") == "mail.example.org");
  CHECK(config->value("mine") == "x.mail.example.org");
  CHECK(config->raw("myorigin") == path);   // what postconf prints
  ::unlink(path);
  const auto without = Config::from_text(main, "", findings);
  CHECK(findings.has_errors());
}
