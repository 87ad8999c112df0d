#include <catch2/catch.hpp>
#include <set>

#include "core/config/config.h"
#include "core/config/names.h"

using namespace millrace::config;
using std::chrono::seconds;

TEST_CASE("config values: times have a number and at most one unit", "[config][values]") {
  CHECK(parse_time("0") == seconds(0));
  CHECK(parse_time("5") == seconds(5));
  CHECK(parse_time("5", 'h') == seconds(18000));
  CHECK(parse_time("5s", 'h') == seconds(5));
  CHECK(parse_time("2m") == seconds(120));
  CHECK(parse_time("1d") == seconds(86400));
  CHECK(parse_time("1w") == seconds(604800));
  CHECK(parse_time("2147483647") == seconds(2147483647));
  for (const char* bad : {"", "s", "5x", "5ss", "-5", " 5", "5 s", "1.5h", "2147483648", "9999999w", "99999999999999999999"}) {
    CAPTURE(bad);
    CHECK_FALSE(parse_time(bad));
  }
}

TEST_CASE("config values: numbers and truth values", "[config][values]") {
  CHECK(parse_integer("-7") == -7);
  CHECK(parse_integer("+7") == 7);
  CHECK_FALSE(parse_integer(""));
  CHECK_FALSE(parse_integer("-"));
  CHECK_FALSE(parse_integer("--7"));
  CHECK_FALSE(parse_integer("7 "));
  CHECK_FALSE(parse_integer("0x7"));
  CHECK(parse_bool("YES") == true);
  CHECK(parse_bool("no") == false);
  CHECK_FALSE(parse_bool("true"));
}

TEST_CASE("config names: rows are sorted, once each, and each has a sensible row", "[config][names]") {
  const auto& rows = name_rows();
  CHECK(rows.size() > 800);
  for (std::size_t i = 1; i < rows.size(); ++i) {
    CAPTURE(rows[i].name);
    CHECK(rows[i - 1].name < rows[i].name);
    // Of those that are read by name, not as fields of Params, the manual page says what it says of all others.
    static const std::set<std::string_view> kByName = {
        "2bounce_notice_recipient", "alias_database", "alternate_config_directories", "authorized_flush_users",
        "authorized_mailq_users", "authorized_submit_users", "default_delivery_status_filter",
        "lmtp_delivery_status_filter", "local_delivery_status_filter", "pipe_delivery_status_filter",
        "smtp_delivery_status_filter", "smtpd_proxy_ehlo", "smtpd_proxy_options", "smtpd_proxy_timeout",
        "virtual_delivery_status_filter"};
    CHECK((rows[i].name_class != NameClass::acted || !rows[i].meaning.empty() || kByName.count(rows[i].name) != 0));
    CHECK((rows[i].high == 0 || rows[i].low <= rows[i].high));
  }
}

TEST_CASE("config names: bounds are Postfix's", "[config][names]") {
  std::string why;
  const NameRow* row = find_name("in_flow_delay");
  REQUIRE(row != nullptr);
  CHECK(check_value(*row, "10", why));
  CHECK_FALSE(check_value(*row, "11", why));
  CHECK(why == "value 11 is above 10");
  CHECK_FALSE(check_value(*find_name("line_length_limit"), "511", why));
  CHECK(why == "value 511 is below 512");
  CHECK_FALSE(check_value(*find_name("smtpd_recipient_limit"), "many", why));
  CHECK(why == "bad numerical value: many");
  CHECK_FALSE(check_value(*find_name("smtpd_timeout"), "5x", why));
  CHECK(why == "bad time value: 5x");
  CHECK_FALSE(check_value(*find_name("smtpd_recipient_limit"), "2147483648", why));
  CHECK(check_value(*find_name("message_size_limit"), "2147483648", why));
  CHECK_FALSE(check_value(*find_name("reject_code"), "-1", why));
}

TEST_CASE("config names: transports and spawn services give names", "[config][names]") {
  Service mine{.name = "mine", .type = "unix", .command = "smtp"};
  Service policy{.name = "policy-spf", .type = "unix", .command = "spawn"};
  const auto names = derived_names({mine, policy});
  CHECK(names.at("mine_destination_concurrency_limit").fallback == "$default_destination_concurrency_limit");
  CHECK(names.at("mine_initial_destination_concurrency").fallback == "$initial_destination_concurrency");
  CHECK(names.at("policy-spf_time_limit").fallback == "$command_time_limit");
  CHECK(names.at("local_destination_recipient_limit").fallback == "1");
  CHECK(names.count("mine_time_limit") == 0);
  CHECK(names.count("policy-spf_recipient_limit") == 0);
}
