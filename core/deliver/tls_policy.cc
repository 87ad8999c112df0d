#include "core/deliver/tls_policy.h"

#include <algorithm>

#include "core/base/strings.h"

namespace millrace::deliver {

Result<std::unique_ptr<TlsPolicies>> TlsPolicies::make(const ClientOptions::Tls& options, map::TableSet& tables) {
  std::unique_ptr<TlsPolicies> out(new TlsPolicies(options));
  auto fallback = out->parse(options.level);
  if (!fallback) return fail("tls_security_level", fallback.error());
  out->fallback_ = *fallback;
  if (!trim(options.policy_maps).empty()) {
    auto maps = map::Maps::open(tables, options.policy_maps);
    if (!maps) return fail("tls_policy_maps", maps.error());
    out->maps_ = std::move(*maps);
  }
  return out;
}

Result<TlsPolicy> TlsPolicies::find(const std::string& nexthop) {
  if (maps_.empty()) return fallback_;
  // The next hop as it is, then ".parent" domains of its host name (TLS_README).
  const std::string key = lower(nexthop);
  auto found = maps_.find(key);
  if (found && !*found && !key.empty() && key[0] != '[') {
    const std::string host = key.substr(0, key.find(':'));
    if (host != key) found = maps_.find(host);
    for (std::size_t dot = host.find('.'); found && !*found && dot != host.npos; dot = host.find('.', dot + 1)) {
      if (dot > 0) found = maps_.find(host.substr(dot));
    }
  }
  if (!found) return tl::unexpected(found.error());
  if (!*found) return fallback_;
  const auto known = parsed_.find(**found);
  if (known != parsed_.end()) return known->second;
  auto policy = parse(**found);
  if (!policy) return fail("TLS policy for " + nexthop, policy.error());
  // Tables may be reopened and name ever new values: a bound on what is kept.
  if (parsed_.size() < 1000) parsed_.emplace(**found, *policy);
  return policy;
}

Result<TlsPolicy> TlsPolicies::parse(std::string_view text) {
  std::string_view rest = text;
  const std::string level = lower(take_word(rest, ", \t\r\n"));
  TlsPolicy out;
  if (level == "none") return out;
  if (level != "may" && level != "encrypt") {
    return fail(Errc::config, "TLS security level \"" + std::string(level) + "\" is not supported");
  }
  const bool must = level == "encrypt";
  out.level = must ? TlsPolicy::Level::encrypt : TlsPolicy::Level::may;
  net::TlsOptions tls;
  tls.server = false;
  tls.cert_file = options_.cert_file;
  tls.key_file = options_.key_file;
  tls.ca_file = options_.ca_file;
  tls.ca_path = options_.ca_path;
  tls.protocols = must ? options_.mandatory_protocols : options_.protocols;
  tls.ciphers = must ? options_.mandatory_ciphers : options_.ciphers;
  tls.exclude_ciphers = options_.exclude_ciphers + (must ? " " + options_.mandatory_exclude_ciphers : "");
  for (std::string_view word = take_word(rest, ", \t\r\n"); !word.empty(); word = take_word(rest, ", \t\r\n")) {
    const std::size_t equals = word.find('=');
    const std::string_view name = word.substr(0, equals);
    std::string value(equals == word.npos ? "" : word.substr(equals + 1));
    std::replace(value.begin(), value.end(), ':', ' ');   // policy tables separate with colons
    if (name == "protocols") tls.protocols = value;
    else if (name == "ciphers") tls.ciphers = value;
    else if (name == "exclude") tls.exclude_ciphers = value;
    else return fail(Errc::config, "TLS policy attribute \"" + std::string(word) + "\" is not supported");
  }
  auto context = net::TlsContext::make(tls);
  if (!context) return tl::unexpected(context.error());
  out.context = std::move(*context);
  return out;
}

}  // namespace millrace::deliver
