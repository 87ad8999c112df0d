#include "core/config/services.h"

#include <fmt/format.h>

#include <array>

namespace millrace::config {
namespace {

struct Row {
  std::string_view command;
  ServiceKind kind;
};
constexpr std::array<Row, 28> kCommands = {{
    {"smtpd", ServiceKind::server},          {"smtp", ServiceKind::client},
    {"lmtp", ServiceKind::client},           {"error", ServiceKind::answer},
    {"discard", ServiceKind::answer},        {"pickup", ServiceKind::internal},
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

void check_services(const Config& config, Findings& findings) {
  for (const Service& service : config.services()) Checker(service, findings).run();
}

}  // namespace millrace::config
