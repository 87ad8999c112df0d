#include "core/config/services.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>

#include "core/base/strings.h"

namespace millrace::config {
namespace {

struct Row {
  std::string_view command;
  ServiceKind kind;
};
constexpr std::array<Row, 28> kCommands = {{
    {"smtpd", ServiceKind::server},          {"smtp", ServiceKind::client},
    {"lmtp", ServiceKind::client},           {"error", ServiceKind::answer},
    {"discard", ServiceKind::answer},        {"pickup", ServiceKind::submission},
    {"cleanup", ServiceKind::internal},      {"qmgr", ServiceKind::internal},
    {"oqmgr", ServiceKind::internal},        {"nqmgr", ServiceKind::internal},
    {"tlsmgr", ServiceKind::internal},       {"trivial-rewrite", ServiceKind::internal},
    {"bounce", ServiceKind::internal},       {"verify", ServiceKind::internal},
    {"flush", ServiceKind::internal},        {"proxymap", ServiceKind::internal},
    {"showq", ServiceKind::internal},        {"anvil", ServiceKind::internal},
    {"scache", ServiceKind::internal},       {"postlogd", ServiceKind::internal},
    {"tlsproxy", ServiceKind::internal},     {"dnsblog", ServiceKind::internal},
    {"local", ServiceKind::delivery},        {"virtual", ServiceKind::delivery},
    {"pipe", ServiceKind::delivery},         {"spawn", ServiceKind::spawn},
    {"postscreen", ServiceKind::unsupported}, {"qmqpd", ServiceKind::unsupported},
}};

// What a cleanup service acts on.  `of_cleanup_alone` is nobody else's: with -o of smtpd it does nothing, as in Postfix.
struct CleanupRow {
  std::string_view name;
  bool of_cleanup_alone = true;
};
constexpr std::array<CleanupRow, 40> kCleanupParameters = {{
    {"always_add_missing_headers"}, {"always_bcc"}, {"body_checks"}, {"body_checks_size_limit"},
    {"canonical_classes"}, {"canonical_maps"}, {"disable_mime_input_processing"}, {"duplicate_filter_limit"},
    {"enable_original_recipient", false}, {"header_address_token_limit"}, {"header_checks"}, {"header_size_limit"},
    {"masquerade_classes"}, {"masquerade_domains"}, {"masquerade_exceptions"}, {"message_drop_headers"},
    {"mime_boundary_length_limit"}, {"mime_header_checks"}, {"mime_nesting_limit"}, {"myhostname", false},
    {"myorigin", false}, {"nested_header_checks"}, {"propagate_unmatched_extensions"}, {"recipient_bcc_maps"},
    {"recipient_canonical_classes"}, {"recipient_canonical_maps"}, {"recipient_delimiter", false},
    {"remote_header_rewrite_domain", false}, {"sender_bcc_maps"}, {"sender_canonical_classes"},
    {"sender_canonical_maps"}, {"strict_7bit_headers"}, {"strict_8bitmime"}, {"strict_8bitmime_body"},
    {"strict_mime_encoding_domain"}, {"syslog_name", false}, {"undisclosed_recipients_header"},
    {"virtual_alias_expansion_limit"}, {"virtual_alias_maps", false}, {"virtual_alias_recursion_limit"},
}};

const CleanupRow* cleanup_row(std::string_view name) {
  const auto* at = std::find_if(kCleanupParameters.begin(), kCleanupParameters.end(), [name](const CleanupRow& row) { return row.name == name; });
  return at == kCleanupParameters.end() ? nullptr : at;
}

bool is_cleanup(const Service& service) {
  return std::string_view(service.command).substr(service.command.rfind('/') + 1) == "cleanup";
}

class Checker {
 public:
  Checker(const Config& config, const Service& service, Findings& findings)
      : config_(config), service_(service), findings_(findings) {}

  void run() {
    switch (service_kind(service_)) {
      case ServiceKind::server:
        if (service_.type != "inet" && service_.type != "unix" && service_.type != "pass") {
          error(fmt::format("smtpd cannot be of type {}", service_.type));
        }
        goes_to_cleanup();
        filters_there();
        return arguments();
      case ServiceKind::client:
      case ServiceKind::answer:
        if (service_.type != "unix") error(fmt::format("{} must be of type unix", service_.command));
        return arguments();
      case ServiceKind::submission:
        if (service_.type != "unix" && service_.type != "fifo") error("pickup must be of type unix");
        goes_to_cleanup();
        filters_there();
        return arguments();
      case ServiceKind::internal:
        return overrides();
      case ServiceKind::delivery:
        if (service_.type != "unix") error(fmt::format("{} must be of type unix", service_.command));
        if (service_.command != "pipe") arguments();
        return;
      case ServiceKind::spawn:
        if (service_.type != "inet" && service_.type != "unix") error(fmt::format("spawn cannot be of type {}", service_.type));
        return overrides();
      case ServiceKind::unsupported:
        error(fmt::format("service command {} is not supported", service_.command));
    }
  }

 private:
  void error(std::string text) { findings_.error(service_.where, service_.name, std::move(text)); }
  void warning(std::string text) { findings_.warning(service_.where, service_.name, std::move(text)); }

  void overrides() {
    for (const auto& [name, value] : service_.overrides) {
      if (is_cleanup(service_) && cleanup_row(name) != nullptr) continue;
      findings_.warning(service_.where, name, fmt::format("-o of the {} service is not acted on", service_.command));
    }
  }
  void goes_to_cleanup() {
    const std::string name = config_.value("cleanup_service_name", &service_).value_or("");
    if (name != "cleanup" && cleanup_service(config_, &service_) == nullptr) {
      findings_.error(service_.where, "cleanup_service_name", fmt::format("no cleanup service of this name: {}", name));
    }
    for (const auto& [key, value] : service_.overrides) {
      const CleanupRow* row = cleanup_row(key);
      if (row == nullptr || !row->of_cleanup_alone) continue;
      findings_.warning(service_.where, key, fmt::format("cleanup's parameter: -o of {} does nothing (see cleanup_service_name)",
                                                         service_.command));
    }
  }
  // All mail would wait for a transport that is not there.
  void filters_there() {
    const std::string filter = config_.value("content_filter", &service_).value_or("");
    if (filter.empty()) return;
    const std::string transport = filter.substr(0, filter.find(':'));
    if (config_.transport(transport) != nullptr) return;
    const bool own = std::any_of(service_.overrides.begin(), service_.overrides.end(), [](const auto& one) { return one.first == "content_filter"; });
    findings_.error(own ? service_.where : config_.where("content_filter"), "content_filter",
                    fmt::format("no transport of this name in master.cf: {}", transport));
  }
  void arguments() {
    for (const std::string& argument : service_.arguments) {
      warning(fmt::format("argument is not acted on: {}", argument));
    }
  }

  const Config& config_;
  const Service& service_;
  Findings& findings_;
};

}  // namespace

ServiceKind service_kind(const Service& service) {
  const std::string_view command = std::string_view(service.command).substr(service.command.rfind('/') + 1);
  for (const Row& row : kCommands) {
    if (row.command == command) return row.kind;
  }
  return ServiceKind::unsupported;
}

const Service* cleanup_service(const Config& config, const Service* service) {
  const std::string name = config.value("cleanup_service_name", service).value_or("cleanup");
  for (const Service& each : config.services()) {
    if (each.name == name && is_cleanup(each)) return &each;
  }
  return nullptr;
}

std::shared_ptr<const Params> cleanup_params(const Config& config, const Service* service) {
  if (const Service* cleanup = cleanup_service(config, service)) return config.params_for(*cleanup, nullptr);
  return std::make_shared<const Params>(config.params());
}

bool is_queue_manager(const Service& service) {
  const std::string_view command = std::string_view(service.command).substr(service.command.rfind('/') + 1);
  return command == "qmgr" || command == "oqmgr" || command == "nqmgr";
}

namespace {
constexpr std::array<std::string_view, 5> kTypes = {"inet", "unix", "fifo", "pass", "unix-dgram"};
bool is_type(std::string_view word) { return std::find(kTypes.begin(), kTypes.end(), word) != kTypes.end(); }

struct Disabled {
  std::string_view name, type;   // "" is any
  bool except = false;
};

std::optional<Disabled> parse_disabled(std::string_view word) {
  Disabled out;
  while (!word.empty() && word.front() == '!') {
    out.except = !out.except;
    word.remove_prefix(1);
  }
  const std::size_t cut = word.find_last_of("/.");
  out.type = word;
  if (word == "qmgr") {
    out.name = word;
    out.type = {};
  } else if (cut != word.npos) {
    out.name = word.substr(0, cut);
    out.type = word.substr(cut + 1);
  }
  const bool good = out.name == "qmgr" ? out.type.empty() || is_type(out.type) : is_type(out.type);
  return good ? std::optional(out) : std::nullopt;
}

bool fits(const Disabled& word, const Service& service) {
  if (word.name.empty()) return word.type == service.type;
  if (word.name != service.name) return false;
  return word.type.empty() || word.type == service.type || (is_queue_manager(service) && word.type == "fifo");
}
}  // namespace

void disable_services(std::vector<Service>& services, std::string_view words, const Location& where, Findings& findings) {
  std::vector<Disabled> list;
  for (const std::string_view word : split(words, ", \t\r\n")) {
    if (const auto parsed = parse_disabled(word)) {
      list.push_back(*parsed);
    } else {
      findings.error(where, "master_service_disable", fmt::format("neither a service type nor name/type: {}", word));
    }
  }
  for (Service& service : services) {
    const auto found = std::find_if(list.begin(), list.end(), [&](const Disabled& one) { return fits(one, service); });
    service.disabled = found != list.end() && !found->except;
    const ServiceKind kind = service_kind(service);
    if (!service.disabled || is_queue_manager(service) || kind != ServiceKind::internal) continue;
    if (service.command == "pickup" || found->name.empty()) continue;
    findings.warning(where, "master_service_disable", fmt::format("no process of its own: {}/{} goes on", service.name, service.type));
  }
}

void check_services(const Config& config, Findings& findings) {
  for (const Service& service : config.services()) Checker(config, service, findings).run();
}

}  // namespace millrace::config
