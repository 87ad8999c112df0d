#include "core/config/support.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "core/base/strings.h"
#include "core/config/macro.h"
#include "core/config/names.h"
#include "core/config/services.h"

namespace millrace::config {
namespace {

// Rows of params.def whose work is not done yet, with the class they have until then.  A line goes when the
// code that acts on it lands.
struct NotYet {
  std::string_view name;
  bool refuse;
};
constexpr std::array<NotYet, 4> kNotYet = {{
    {"smtp_per_request_deadline", false},
    {"smtpd_sasl_auth_enable", true},
    {"smtpd_tls_auth_only", false},   // no AUTH is offered at all
    {"syslog_facility", false},
}};

// Types of tables that are to be plugins.  They are looked for here so that the line that names one is known, and not
// only the parameter that uses it.
constexpr std::array<std::string_view, 12> kPluginTables = {"cdb",     "dbm", "ldap",    "memcache", "mongodb", "mysql",
                                                            "netinfo", "nis", "nisplus", "pgsql",    "sdbm",    "sqlite"};

// Caches: the names of these are not opened as tables.
bool is_cache(std::string_view name) {
  return name == "address_verify_map" || name.ends_with("_cache_database") || name.ends_with("_cache_map");
}

const NotYet* not_yet_row(std::string_view name) {
  const auto* at = std::find_if(kNotYet.begin(), kNotYet.end(), [name](const NotYet& row) { return row.name == name; });
  return at == kNotYet.end() ? nullptr : at;
}

// Values of refused parameters that ask for nothing, or whose loss is harmless.
struct Exception {
  std::string_view name, value;
  bool silent;
};
constexpr std::array<Exception, 10> kExceptions = {{
    {"lmtp_dns_support_level", "enabled", true},
    {"postscreen_bare_newline_action", "ignore", true},
    {"postscreen_denylist_action", "ignore", true},
    {"postscreen_dnsbl_action", "ignore", true},
    {"postscreen_greet_action", "ignore", true},
    {"postscreen_non_smtp_command_action", "ignore", true},
    {"postscreen_pipelining_action", "ignore", true},
    {"postscreen_tls_security_level", "none", true},
    {"smtp_dns_support_level", "enabled", true},
    {"tls_config_file", "none", false},
}};

// "1h" and "3600s" are one value, "Yes" and "yes" too; lists differ in blanks and commas alone.
bool same_value(ValueType type, std::string_view fallback, std::string_view a, std::string_view b) {
  switch (type) {
    case ValueType::boolean: return parse_bool(a) == parse_bool(b);
    case ValueType::integer:
    case ValueType::size: return parse_integer(a) == parse_integer(b);
    case ValueType::time: return parse_time(a, default_unit(fallback)) == parse_time(b, default_unit(fallback));
    case ValueType::text:
    case ValueType::raw: break;
  }
  return split(a, ", \t\r\n") == split(b, ", \t\r\n");
}

class Support {
 public:
  Support(const Config& config, Findings& findings)
      : config_(config), findings_(findings), derived_(derived_names(config.services())) {}

  void run() {
    for (const std::string& name : config_.set_names()) check(name, nullptr, config_.where(name));
    for (const Service& service : config_.services()) {
      const ServiceKind kind = service_kind(service);
      if (kind != ServiceKind::server && kind != ServiceKind::client && kind != ServiceKind::answer &&
          kind != ServiceKind::delivery && kind != ServiceKind::submission) {
        continue;
      }
      for (const auto& [name, value] : service.overrides) check(name, &service, service.where);
    }
  }

 private:
  void check(const std::string& name, const Service* service, const Location& where) {
    check_tables(name, config_.raw(name, service).value_or(""), where);
    if (const NameRow* row = find_name(name)) return check_row(*row, service, where);
    const auto derived = derived_.find(name);
    if (derived == derived_.end()) return;
    NameRow row{name, derived->second.type, derived->second.fallback};
    row.name_class = derived->second.name_class;
    // The unit of a derived time is that of the parameter it falls back to: seconds, all of them.
    check_row(row, service, where);
  }

  void check_tables(const std::string& name, const std::string& value, const Location& where) {
    const NameRow* row = find_name(name);
    if (is_cache(name) || (row != nullptr && row->name_class == NameClass::harmless)) return;
    for (std::string_view word : split(value, ", \t\r\n{}")) {
      while (word.starts_with("proxy:")) word.remove_prefix(6);
      const std::size_t colon = word.find(':');
      if (colon == word.npos || colon + 1 == word.size()) continue;
      const auto type = std::find(kPluginTables.begin(), kPluginTables.end(), word.substr(0, colon));
      if (type == kPluginTables.end()) continue;
      findings_.error(where, name, fmt::format("\"{}\": tables of type {} are not supported: they will be plugins; socketmap: can stand for them",
                                               word, *type));
    }
  }

  void check_row(const NameRow& row, const Service* service, const Location& where) {
    const std::string name(row.name);
    const NotYet* not_yet = not_yet_row(row.name);
    switch (row.name_class) {
      case NameClass::through: return;
      case NameClass::legacy: return check_legacy(row, where);
      case NameClass::readonly:
        return findings_.warning(where, name, "read-only parameter: the value is ignored");
      case NameClass::acted:
        if (derived_.count(name) != 0) check_type(row, service, where);
        if (not_yet == nullptr) return;
        break;
      case NameClass::harmless:
      case NameClass::refuse:
        if (!check_type(row, service, where)) return;
    }
    const std::string value = config_.value(name, service).value_or("");
    if (value.empty()) return;
    const std::string fallback = row.type == ValueType::raw ? std::string(row.fallback) : config_.expand(row.fallback, service);
    if (same_value(row.type, row.fallback, value, fallback)) return;
    bool refuse = not_yet != nullptr ? not_yet->refuse : row.name_class == NameClass::refuse;
    for (const Exception& exception : kExceptions) {
      if (exception.name != row.name || !iequals(exception.value, value)) continue;
      if (exception.silent) return;
      refuse = false;
    }
    if (refuse) {
      findings_.error(where, name,
                      "not supported yet; without it mail would be accepted, delivered or protected differently");
    } else {
      findings_.warning(where, name, "not acted on");
    }
  }

  bool check_type(const NameRow& row, const Service* service, const Location& where) {
    const auto raw = config_.raw(row.name, service);
    std::string why;
    if (row.type == ValueType::raw) return true;
    const auto value = config_.try_expand(raw.value_or(""), service);
    if (!value) {
      findings_.error(where, std::string(row.name), value.error().context);
      return false;
    }
    // An empty value of a parameter nobody reads is no mistake worth a refusal.
    if (value->empty() || check_value(row, *value, why)) return true;
    findings_.error(where, std::string(row.name), why);
    return false;
  }

  // An old name counts as the new one whose default mentions it.
  void check_legacy(const NameRow& legacy, const Location& where) {
    if (config_.value(legacy.name).value_or("").empty()) return;
    for (const NameRow& row : name_rows()) {
      const NotYet* not_yet = not_yet_row(row.name);
      if (row.name_class != NameClass::refuse && (not_yet == nullptr || !not_yet->refuse)) continue;
      for_each_macro(row.fallback, [&](std::string_view name) {
        if (name != legacy.name) return;
        findings_.error(where, std::string(legacy.name), fmt::format("old name of {}, which is not supported yet", row.name));
      });
    }
  }

  const Config& config_;
  Findings& findings_;
  const std::map<std::string, DerivedName, std::less<>> derived_;
};

}  // namespace

void check_support(const Config& config, Findings& findings) { Support(config, findings).run(); }

}  // namespace millrace::config
