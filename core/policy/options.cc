// The argument of check_policy_service: see options.h.
#include "core/policy/options.h"

#include <optional>
#include <vector>

#include "core/base/strings.h"
#include "core/config/config.h"
#include "core/filter/element.h"

namespace millrace::policy {

namespace {

// Words between commas and blanks, { } groups whole without their braces; nullopt when a brace is left
// open.  "name = value" is three words here and is put together by the caller.
std::optional<std::vector<std::string_view>> words(std::string_view text) {
  std::vector<std::string_view> out;
  for (std::size_t at = 0; at < text.size();) {
    if (is_space(text[at]) || text[at] == ',') {
      ++at;
    } else if (text[at] == '{') {
      std::size_t end = at, depth = 0;
      do {
        if (text[end] == '{') ++depth;
        if (text[end] == '}') --depth;
        ++end;
      } while (depth > 0 && end < text.size());
      if (depth > 0) return {};
      out.push_back(trim(text.substr(at + 1, end - at - 2)));
      at = end;
    } else {
      const std::size_t end = std::min(text.find_first_of(", \t\r\n", at), text.size());
      out.push_back(text.substr(at, end - at));
      at = end;
    }
  }
  return out;
}

Result<void> set_endpoint(std::string_view text, ServiceOptions& out) {
  if (text.starts_with("unix:")) {
    out.is_unix = true;
    out.path = out.name = text.substr(5);
    if (out.path.empty()) return fail(Errc::config, "no path in \"" + std::string(text) + "\"");
    return {};
  }
  if (!text.starts_with("inet:")) return fail(Errc::config, "unknown endpoint \"" + std::string(text) + "\"; inet:host:port or unix:path expected");
  std::string_view rest = text.substr(5);
  const std::size_t colon = rest.rfind(':');
  std::string_view host = colon == std::string_view::npos ? std::string_view() : rest.substr(0, colon);
  out.port = colon == std::string_view::npos ? rest : rest.substr(colon + 1);
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  out.host = host;
  out.name = rest;
  if (out.port.empty()) return fail(Errc::config, "no port in \"" + std::string(text) + "\"");
  return {};
}

Result<void> set_option(std::string_view name, std::string_view value, ServiceOptions& out) {
  const auto bad = [&] {
    return fail(Errc::config, "bad value of " + std::string(name) + ": \"" + std::string(value) + "\"");
  };
  std::chrono::milliseconds* time = name == "timeout"       ? &out.timeout
                                    : name == "max_idle"    ? &out.max_idle
                                    : name == "max_ttl"     ? &out.max_ttl
                                    : name == "retry_delay" ? &out.retry_delay
                                                            : nullptr;
  if (time != nullptr) {
    const auto parsed = config::parse_time(value);
    if (!parsed || parsed->count() < 1) return bad();
    *time = *parsed;
  } else if (name == "request_limit" || name == "try_limit" || name == "max_connections") {
    const auto parsed = parse_number<std::uint32_t>(value);
    if (!parsed || (name != "request_limit" && *parsed == 0)) return bad();
    if (name == "request_limit") out.request_limit = *parsed;
    if (name == "try_limit") out.try_limit = *parsed;
    if (name == "max_connections") out.max_connections = *parsed;
  } else if (name == "default_action") {
    if (value.empty()) return bad();
    out.default_action = value;
  } else if (name.starts_with("default_action_")) {
    if (value.empty()) return bad();
    for (std::size_t i = 0; i < filter::kTraffics; ++i) {
      if (name.substr(15) == filter::traffic_name(static_cast<filter::Traffic>(i))) {
        out.class_actions[i] = value;
        return {};
      }
    }
    return fail(Errc::config, "unknown option \"" + std::string(name) + "\" of a policy service");
  } else if (name == "breaker") {
    const auto parsed = filter::parse_breaker(value);
    if (!parsed) return bad();
    out.breaker = *parsed;
  } else if (name == "policy_context") {
    out.policy_context = value;
  } else {
    return fail(Errc::config, "unknown option \"" + std::string(name) + "\" of a policy service");
  }
  return {};
}

}  // namespace

Result<ServiceOptions> parse_service(std::string_view argument, const config::Params& params) {
  ServiceOptions out;
  out.timeout = params.smtpd_policy_service_timeout;
  out.max_idle = params.smtpd_policy_service_max_idle;
  out.max_ttl = params.smtpd_policy_service_max_ttl;
  out.retry_delay = params.smtpd_policy_service_retry_delay;
  out.request_limit = params.smtpd_policy_service_request_limit;
  out.try_limit = params.smtpd_policy_service_try_limit;
  out.default_action = params.smtpd_policy_service_default_action;
  out.policy_context = params.smtpd_policy_service_policy_context;
  out.check_utf8 = params.smtputf8_enable;

  argument = trim(argument);
  const auto bad_braces = [&] { return fail(Errc::config, "unbalanced braces in \"" + std::string(argument) + "\""); };
  if (!argument.starts_with('{')) {
    if (auto set = set_endpoint(argument, out); !set) return tl::unexpected(set.error());
    return out;
  }
  const auto outer = words(argument);
  if (!outer || outer->size() != 1) return bad_braces();
  const auto inner = words(outer->front());
  if (!inner) return bad_braces();
  if (inner->empty()) return fail(Errc::config, "no endpoint in \"" + std::string(argument) + "\"");
  if (auto set = set_endpoint(inner->front(), out); !set) return tl::unexpected(set.error());
  for (std::size_t i = 1; i < inner->size(); ++i) {
    std::string item((*inner)[i]);
    if (item.find('=') == std::string::npos && i + 1 < inner->size() && (*inner)[i + 1].starts_with('=')) {
      item += (*inner)[++i];   // "name =value", "name = value"
    }
    if (item.ends_with('=') && i + 1 < inner->size() && (*inner)[i + 1].find('=') == std::string_view::npos) {
      item += (*inner)[++i];
    }
    const std::size_t equal = item.find('=');
    if (equal == std::string::npos) return fail(Errc::config, "name=value expected instead of \"" + item + "\"");
    auto set = set_option(trim(std::string_view(item).substr(0, equal)), trim(std::string_view(item).substr(equal + 1)), out);
    if (!set) return tl::unexpected(set.error());
  }
  return out;
}

}  // namespace millrace::policy
