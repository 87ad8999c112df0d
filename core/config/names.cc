#include "core/config/names.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>

#include "core/base/strings.h"

namespace millrace::config {
namespace {

std::vector<NameRow> make_rows() {
  constexpr NameClass acted = NameClass::acted;
  std::vector<NameRow> rows = {
#define PARAM_STR(name, fallback, meaning) {#name, ValueType::text, fallback, 0, 0, acted, meaning},
#define PARAM_RAW(name, fallback, meaning) {#name, ValueType::raw, fallback, 0, 0, acted, meaning},
#define PARAM_BOOL(name, fallback, meaning) {#name, ValueType::boolean, fallback, 0, 0, acted, meaning},
#define PARAM_INT(name, fallback, low, high, meaning) {#name, ValueType::integer, fallback, low, high, acted, meaning},
#define PARAM_SIZE(name, fallback, low, high, meaning) {#name, ValueType::size, fallback, low, high, acted, meaning},
#define PARAM_TIME(name, fallback, low, high, meaning) {#name, ValueType::time, fallback, low, high, acted, meaning},
#include "core/config/params.def"
#undef PARAM_STR
#undef PARAM_RAW
#undef PARAM_BOOL
#undef PARAM_INT
#undef PARAM_SIZE
#undef PARAM_TIME
#define OTHER_STR(name, fallback, kind) {#name, ValueType::text, fallback, 0, 0, NameClass::kind, ""},
#define OTHER_RAW(name, fallback, kind) {#name, ValueType::raw, fallback, 0, 0, NameClass::kind, ""},
#define OTHER_BOOL(name, fallback, kind) {#name, ValueType::boolean, fallback, 0, 0, NameClass::kind, ""},
#define OTHER_INT(name, fallback, kind) {#name, ValueType::integer, fallback, 0, 0, NameClass::kind, ""},
#define OTHER_SIZE(name, fallback, kind) {#name, ValueType::size, fallback, 0, 0, NameClass::kind, ""},
#define OTHER_TIME(name, fallback, kind) {#name, ValueType::time, fallback, 0, 0, NameClass::kind, ""},
#include "core/config/other_names.def"
#undef OTHER_STR
#undef OTHER_RAW
#undef OTHER_BOOL
#undef OTHER_INT
#undef OTHER_SIZE
#undef OTHER_TIME
  };
  std::sort(rows.begin(), rows.end(), [](const NameRow& a, const NameRow& b) { return a.name < b.name; });
  return rows;
}

// Postfix takes an empty value of these for a mistake.
constexpr std::array<std::string_view, 35> kNotEmpty = {
    "data_directory", "default_database_type", "default_destination_concurrency_negative_feedback",
    "default_destination_concurrency_positive_feedback", "default_transport", "double_bounce_sender",
    "empty_address_recipient", "lmtp_lhlo_name", "local_transport", "mail_name", "mail_owner",
    "milter_default_action", "milter_macro_daemon_name", "milter_macro_v", "milter_protocol", "mydomain",
    "myhostname", "mynetworks_style", "myorigin", "queue_directory", "reject_tempfail_action",
    "relay_transport", "setgid_group", "smtp_address_preference", "smtp_helo_name", "smtp_host_lookup",
    "smtp_tls_ciphers", "smtp_tls_mandatory_ciphers", "smtpd_banner", "smtpd_forbid_bare_newline",
    "smtpd_policy_service_default_action", "smtpd_tls_ciphers", "smtpd_tls_mandatory_ciphers",
    "syslog_facility", "syslog_name"};

struct Suffix {
  std::string_view name, fallback;
  ValueType type;
  bool acted;   // the queue manager reads it
};
constexpr std::array<Suffix, 16> kTransportSuffixes = {{
    {"delivery_slot_cost", "default_delivery_slot_cost", ValueType::integer, true},
    {"delivery_slot_discount", "default_delivery_slot_discount", ValueType::integer, true},
    {"delivery_slot_loan", "default_delivery_slot_loan", ValueType::integer, true},
    {"destination_concurrency_failed_cohort_limit", "default_destination_concurrency_failed_cohort_limit",
     ValueType::integer, true},
    {"destination_concurrency_limit", "default_destination_concurrency_limit", ValueType::integer, true},
    {"destination_concurrency_negative_feedback", "default_destination_concurrency_negative_feedback",
     ValueType::text, true},
    {"destination_concurrency_positive_feedback", "default_destination_concurrency_positive_feedback",
     ValueType::text, true},
    {"destination_rate_delay", "default_destination_rate_delay", ValueType::time, true},
    {"destination_recipient_limit", "default_destination_recipient_limit", ValueType::integer, true},
    {"extra_recipient_limit", "default_extra_recipient_limit", ValueType::integer, true},
    {"initial_destination_concurrency", "initial_destination_concurrency", ValueType::integer, true},
    {"minimum_delivery_slots", "default_minimum_delivery_slots", ValueType::integer, true},
    {"recipient_limit", "default_recipient_limit", ValueType::integer, true},
    {"recipient_refill_delay", "default_recipient_refill_delay", ValueType::time, true},
    {"recipient_refill_limit", "default_recipient_refill_limit", ValueType::integer, true},
    {"transport_rate_delay", "default_transport_rate_delay", ValueType::time, true},
}};
constexpr Suffix kTimeLimit = {"time_limit", "command_time_limit", ValueType::time, true};

constexpr std::array kTransportCommands = {"local", "error", "virtual", "smtp", "lmtp", "pipe"};
constexpr std::array kDebianTransports = {"error", "lmtp", "local", "relay", "retry", "smtp", "virtual"};
constexpr std::array kDebianPipes = {"bsmtp", "ifmail", "maildrop", "mailman", "scalemail-backend", "uucp"};

// local(8) delivers one recipient at a time, whatever the general defaults are.
std::string_view own_default(std::string_view name) {
  if (name == "local_destination_concurrency_limit") return "2";
  if (name == "local_destination_recipient_limit") return "1";
  return {};
}

}  // namespace

const std::vector<NameRow>& name_rows() {
  static const std::vector<NameRow> rows = make_rows();
  return rows;
}

const NameRow* find_name(std::string_view name) {
  const auto& rows = name_rows();
  const auto at = std::lower_bound(rows.begin(), rows.end(), name,
                                   [](const NameRow& row, std::string_view key) { return row.name < key; });
  return at != rows.end() && at->name == name ? &*at : nullptr;
}

char default_unit(std::string_view fallback) {
  const bool has_unit = !fallback.empty() && std::string_view("smhdw").find(fallback.back()) != std::string_view::npos;
  return has_unit ? fallback.back() : 's';
}

bool check_value(const NameRow& row, std::string_view value, std::string& why) {
  const auto bad = [&](std::string_view what) {
    why = fmt::format("{}: {}", what, printable(value));
    return false;
  };
  std::int64_t number = 0;
  switch (row.type) {
    case ValueType::boolean:
      return parse_bool(value) ? true : bad("bad boolean value");
    case ValueType::text:
    case ValueType::raw:
      if (value.empty() && std::find(kNotEmpty.begin(), kNotEmpty.end(), row.name) != kNotEmpty.end()) {
        why = "the value must not be empty";
        return false;
      }
      if (row.name.ends_with("_tempfail_action") && !iequals(value, "defer") && !iequals(value, "defer_if_permit")) {
        return bad("neither defer nor defer_if_permit");
      }
      return true;
    case ValueType::time: {
      const auto time = parse_time(value, default_unit(row.fallback));
      if (!time) return bad("bad time value");
      number = time->count();
      break;
    }
    case ValueType::integer:
    case ValueType::size: {
      const auto parsed = parse_integer(value);
      const bool fits = row.type == ValueType::size || (parsed && *parsed <= std::numeric_limits<std::int32_t>::max());
      if (!parsed || !fits) return bad("bad numerical value");
      number = *parsed;
      break;
    }
  }
  if (number < row.low || number < 0) {
    why = fmt::format("value {} is below {}", printable(value), row.low);
    return false;
  }
  if (row.high != 0 && number > row.high) {
    why = fmt::format("value {} is above {}", printable(value), row.high);
    return false;
  }
  return true;
}

std::map<std::string, DerivedName, std::less<>> derived_names(const std::vector<Service>& services) {
  std::map<std::string, DerivedName, std::less<>> out;
  const auto add = [&out](std::string_view service, const Suffix& suffix) {
    std::string name = fmt::format("{}_{}", service, suffix.name);
    const std::string_view own = own_default(name);
    out.try_emplace(std::move(name), DerivedName{own.empty() ? fmt::format("${}", suffix.fallback) : std::string(own),
                                                 suffix.type, suffix.acted ? NameClass::acted : NameClass::harmless});
  };
  const auto add_transport = [&add](std::string_view service) {
    for (const Suffix& suffix : kTransportSuffixes) add(service, suffix);
  };
  for (const char* name : kDebianTransports) add_transport(name);
  for (const char* name : kDebianPipes) {
    add_transport(name);
    add(name, kTimeLimit);
  }
  for (const Service& service : services) {
    if (std::find(kTransportCommands.begin(), kTransportCommands.end(), service.command) != kTransportCommands.end()) {
      add_transport(service.name);
    }
    if (service.command == "pipe" || service.command == "spawn") add(service.name, kTimeLimit);
  }
  return out;
}

std::string derived_fallback(std::string_view suffix) {
  if (suffix == kTimeLimit.name) return std::string(kTimeLimit.fallback);
  for (const Suffix& row : kTransportSuffixes) {
    if (row.name == suffix) return std::string(row.fallback);
  }
  return "default_" + std::string(suffix);
}

}  // namespace millrace::config
