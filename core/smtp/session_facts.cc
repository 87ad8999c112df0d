// Who the client is, and what is logged of it.  See session.h.
#include <fmt/format.h>

#include "core/base/strings.h"
#include "core/smtp/session.h"

namespace millrace::smtp {
namespace {

using NameStatus = filter::SessionFacts::NameStatus;

constexpr auto kNameBudget = std::chrono::seconds(100);

NameStatus status_of(net::HostNames::Status status) {
  switch (status) {
    case net::HostNames::Status::ok: return NameStatus::ok;
    case net::HostNames::Status::not_found: return NameStatus::not_found;
    case net::HostNames::Status::forged: return NameStatus::forged;
    case net::HostNames::Status::temporary: return NameStatus::temporary;
  }
  return NameStatus::temporary;
}

}  // namespace

const std::string& Session::shown_address() const {
  static const std::string local = "127.0.0.1";
  return facts_.client_address.empty() ? local : facts_.client_address;
}

std::string Session::rfc_address() const {
  return (shown_address().find(':') == std::string::npos ? "" : "IPv6:") + shown_address();
}

void Session::set_client(std::string name, std::string address, std::string port) {
  facts_.client_name = std::move(name);
  facts_.client_address = std::move(address);
  facts_.client_port = std::move(port);
  namaddr_ = fmt::format("{}[{}]", facts_.client_name, shown_address());
  if (params_.smtpd_client_port_logging) namaddr_ += ":" + (facts_.client_port.empty() ? "unknown" : facts_.client_port);
  // What depends on who it is.
  const ServiceContext& service = service_;
  facts_.verbosity = service.verbosity;
  if (service.debug_peers.matches_host(facts_.client_name, shown_address()).value_or(false)) {
    facts_.verbosity += static_cast<int>(params_.debug_peer_level);
  }
  traced_ = facts_.verbosity > 0;
  bare_newline_ = service.bare_newline;
  if (bare_newline_ != BareNewline::no &&
      service.bare_newline_exclusions.matches_host(facts_.client_name, shown_address()).value_or(false)) {
    bare_newline_ = BareNewline::no;
  }
}

void Session::look_up_client() {
  if (socket_address_.empty()) {
    facts_.reverse_client_name = "localhost";
    return set_client("localhost", "", "");
  }
  net::HostNames names;
  if (service_.resolver != nullptr) {
    names = net::client_names(*service_.resolver, socket_address_, Deadline::after(kNameBudget));
    if (!names.warning.empty()) log_.warning(names.warning);
  } else {
    names.name_status = names.reverse_status = net::HostNames::Status::not_found;
  }
  facts_.name_status = status_of(names.name_status);
  facts_.reverse_name_status = status_of(names.reverse_status);
  facts_.reverse_client_name = names.reverse;
  may_xclient_ = service_.xclient_hosts.matches_host(names.name, socket_address_).value_or(false);
  may_xforward_ = service_.xforward_hosts.matches_host(names.name, socket_address_).value_or(false);
  set_client(names.name, socket_address_, facts_.client_port);
}

bool Session::is_limited_client() const {
  return !service_.event_limit_exceptions.matches_host(facts_.client_name, shown_address()).value_or(false);
}

void Session::log_event(const log::Logger& log, std::string_view what, std::string_view text,
                        const mime::Recipient* rcpt) const {
  const Transaction* current = transaction_.get();
  std::string line = current == nullptr || current->envelope.queue_id.empty() ? "NOQUEUE" : current->envelope.queue_id;
  line += fmt::format(": {}: {} from {}: {};", what, where_, namaddr_, text);
  if (current != nullptr && current->begun) {
    line += fmt::format(" from=<{}>", rewrite::quote_local(current->envelope.sender));
  }
  if (rcpt != nullptr) {
    line += fmt::format(" to=<{}>", rewrite::quote_local(rcpt->address));
  } else if (current != nullptr && !current->first_recipient.empty() &&
             (what != "reject" || current->envelope.recipients.size() < 2)) {   // a list says it of all of them
    line += fmt::format(" to=<{}>", rewrite::quote_local(current->first_recipient));
  }
  line += fmt::format(" proto={}", facts_.protocol);
  if (!facts_.helo_name.empty()) line += fmt::format(" helo=<{}>", facts_.helo_name);
  log.info(line);
}

std::optional<std::string> Session::footer_value(std::string_view name) const {
  const Transaction* current = transaction_.get();
  if (name == "client") return namaddr_;
  if (name == "client_address") return shown_address();
  if (name == "client_name") return facts_.client_name;
  if (name == "client_port") return facts_.client_port;
  if (name == "helo_name") return facts_.helo_name;
  if (name == "sender") return current == nullptr ? "" : current->envelope.sender;
  if (name == "recipient") return current == nullptr ? "" : current->first_recipient;
  if (name == "server_name") return params_.myhostname;
  if (name == "server_address") return facts_.server_address;
  if (name == "server_port") return facts_.server_port;
  if (name == "localtime") return syslog_date(wall_now());
  return {};
}

}  // namespace millrace::smtp
