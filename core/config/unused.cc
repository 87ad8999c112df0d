// Which names in main.cf and in -o nothing uses.  As postconf(1) sees it: a user-defined name is used when
// some value mentions $name, or smtpd_restriction_classes lists it.
#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <string>

#include "core/base/strings.h"
#include "core/config/macro.h"
#include "core/config/names.h"
#include "core/config/support.h"

namespace millrace::config {
namespace {

class Usage {
 public:
  Usage(const Config& config, Findings& findings)
      : config_(config), findings_(findings), derived_(derived_names(config.services())),
        main_{config.directory() + "/main.cf", 0}, master_{config.directory() + "/master.cf", 0} {}

  void run() {
    scan_all();
    report();
  }

  std::set<std::string, std::less<>> unused() {
    scan_all();
    std::set<std::string, std::less<>> out;
    for (const std::string& name : config_.set_names()) {
      if (!is_known(name) && used_.count(name) == 0) out.insert(name);
    }
    return out;
  }

 private:
  void scan_all() {
    for (const Service& service : config_.services()) scan_service(service);
    // Defaults count too: some mention the old name of a parameter.
    for (const NameRow& row : name_rows()) {
      if (row.type != ValueType::raw && !config_.is_set(row.name)) scan(row.fallback, nullptr, main_);
    }
    scan_classes(nullptr);
    for (const std::string& name : config_.set_names()) {
      const NameRow* row = find_name(name);
      if (row == nullptr || row->type != ValueType::raw) scan(config_.raw(name).value_or(""), nullptr, main_);
    }
  }

  bool is_known(std::string_view name) const {
    return find_name(name) != nullptr || derived_.find(name) != derived_.end();
  }

  static bool is_overridden(const Service& service, std::string_view name) {
    return std::any_of(service.overrides.begin(), service.overrides.end(),
                       [name](const auto& item) { return item.first == name; });
  }

  // True when somebody gave `name` a value; then it counts as used.
  bool use(std::string_view name, const Service* service) {
    bool found = config_.is_set(name);
    if (service != nullptr) {
      found = found || is_overridden(*service, name);
    } else {
      for (const Service& other : config_.services()) found = found || is_overridden(other, name);
    }
    if (found) used_.emplace(name);
    return found;
  }

  void mention(std::string_view name, const Service* service, const Location& where) {
    if (use(name, service) || is_known(name)) return;
    findings_.warning(where, "", fmt::format("undefined parameter: {}", printable(name)));
  }

  void scan(std::string_view text, const Service* service, const Location& where) {
    for_each_macro(text, [&](std::string_view name) { mention(name, service, where); });
  }

  void scan_classes(const Service* service) {
    const std::string classes = config_.value("smtpd_restriction_classes", service).value_or("");
    for (const std::string_view name : split(classes, ", \t\r\n")) {
      mention(name, service, service == nullptr ? main_ : master_);
    }
  }

  void scan_service(const Service& service) {
    if (is_overridden(service, "smtpd_restriction_classes")) scan_classes(&service);
    for (const auto& [name, value] : service.overrides) {
      const NameRow* row = find_name(name);
      if (row == nullptr || row->type != ValueType::raw) scan(value, &service, master_);
    }
  }

  void report() {
    for (const std::string& name : config_.set_names()) {
      if (is_known(name) || used_.count(name) != 0) continue;
      findings_.warning(main_, "", fmt::format("unused parameter: {}={}", printable(name),
                                               printable(config_.raw(name).value_or(""))));
    }
    for (const Service& service : config_.services()) {
      for (const auto& [name, value] : service.overrides) {
        if (is_known(name) || used_.count(name) != 0) continue;
        findings_.warning(master_, "", fmt::format("unused parameter: {}={}", printable(name), printable(value)));
      }
    }
  }

  const Config& config_;
  Findings& findings_;
  const std::map<std::string, DerivedName, std::less<>> derived_;
  const Location main_, master_;
  std::set<std::string, std::less<>> used_;
};

}  // namespace

void check_unused(const Config& config, Findings& findings) { Usage(config, findings).run(); }

std::set<std::string, std::less<>> unused_names(const Config& config) {
  Findings ignored;
  return Usage(config, ignored).unused();
}

}  // namespace millrace::config
