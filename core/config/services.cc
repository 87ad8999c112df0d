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

class Checker {
 public:
  Checker(const Service& service, Findings& findings) : service_(service), findings_(findings) {}

  void run() {
    switch (service_kind(service_)) {
      case ServiceKind::server:
        if (service_.type != "inet" && service_.type != "unix" && service_.type != "pass") {
          error(fmt::format("smtpd cannot be of type {}", service_.type));
        }
        return arguments();
      case ServiceKind::client:
      case ServiceKind::answer:
        if (service_.type != "unix") error(fmt::format("{} must be of type unix", service_.command));
        return arguments();
      case ServiceKind::submission:
        if (service_.type != "unix" && service_.type != "fifo") error("pickup must be of type unix");
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
      findings_.warning(service_.where, name, fmt::format("-o of the {} service is not acted on", service_.command));
    }
  }
  void arguments() {
    for (const std::string& argument : service_.arguments) {
      warning(fmt::format("argument is not acted on: {}", argument));
    }
  }

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
  for (const Service& service : config.services()) Checker(service, findings).run();
}

}  // namespace millrace::config
