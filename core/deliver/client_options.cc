#include "core/deliver/client_options.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netinet/in.h>

#include <algorithm>

#include "core/base/strings.h"
#include "core/deliver/target.h"

namespace millrace::deliver {

namespace {
// Looks parameters of one client up by their common part: "helo_timeout".
class Source {
 public:
  Source(const config::Config& config, const config::Service& service, bool lmtp)
      : config_(config), service_(service), prefix_(lmtp ? "lmtp_" : "smtp_") {}

  std::string text(std::string_view name, std::string_view fallback = "") const {
    return config_.value(prefix_ + std::string(name), &service_).value_or(std::string(fallback));
  }
  bool flag(std::string_view name, bool fallback) const {
    return parse(name, fallback, [](std::string_view t) { return config::parse_bool(t); });
  }
  std::int64_t number(std::string_view name, std::int64_t fallback) const {
    return parse(name, fallback, [](std::string_view t) { return config::parse_integer(t); });
  }
  std::chrono::seconds time(std::string_view name, std::chrono::seconds fallback) const {
    return parse(name, fallback, [](std::string_view t) { return config::parse_time(t); });
  }
  std::string plain(const char* name) const { return config_.value(name, &service_).value_or(""); }
  const std::string& error() const { return error_; }
  std::string full(std::string_view name) const { return prefix_ + std::string(name); }

 private:
  template <typename T, typename F>
  T parse(std::string_view name, T fallback, F&& parser) const {
    const auto value = config_.value(prefix_ + std::string(name), &service_);
    if (!value || trim(*value).empty()) return fallback;
    const auto parsed = parser(trim(*value));
    if (!parsed && error_.empty()) error_ = "bad value: " + full(name) + " = " + *value;
    return parsed ? T(*parsed) : fallback;
  }
  const config::Config& config_;
  const config::Service& service_;
  std::string prefix_;
  mutable std::string error_;
};

std::vector<std::string> words(std::string_view text) {
  std::vector<std::string> out;
  for (const std::string_view word : split(text, ", \t\r\n")) out.push_back(lower(word));
  return out;
}

std::string tls_level(const Source& source) {
  const std::string level = lower(source.text("tls_security_level"));
  if (!level.empty()) return level;
  if (source.flag("enforce_tls", false)) return "encrypt";
  return source.flag("use_tls", false) ? "may" : "none";
}

void read_tls(const Source& source, ClientOptions::Tls& tls) {
  tls.level = tls_level(source);
  tls.policy_maps = source.text("tls_policy_maps");
  tls.ca_file = source.text("tls_CAfile");
  tls.ca_path = source.text("tls_CApath");
  tls.cert_file = source.text("tls_cert_file");
  tls.key_file = source.text("tls_key_file", tls.cert_file);
  tls.protocols = source.text("tls_protocols", ">=TLSv1");
  tls.mandatory_protocols = source.text("tls_mandatory_protocols", ">=TLSv1");
  tls.ciphers = source.text("tls_ciphers", "medium");
  tls.mandatory_ciphers = source.text("tls_mandatory_ciphers", "medium");
  tls.exclude_ciphers = source.text("tls_exclude_ciphers");
  tls.mandatory_exclude_ciphers = source.text("tls_mandatory_exclude_ciphers");
  tls.log_level = static_cast<int>(source.number("tls_loglevel", 0));
  tls.note_offer = source.flag("tls_note_starttls_offer", false);
}
}  // namespace

Result<ClientOptions> read_client_options(const config::Config& config, const config::Service& service) {
  ClientOptions out;
  out.lmtp = service.command == "lmtp";
  const Source source(config, service, out.lmtp);
  out.my_name = source.plain("myhostname");
  out.helo_name = source.text(out.lmtp ? "lhlo_name" : "helo_name", out.my_name);

  const std::string port_text = source.text("tcp_port", out.lmtp ? "24" : "smtp");
  const std::string port(trim(port_text));
  const auto target = parse_targets("[port]:" + port, TargetRules{});
  if (!target) return fail(Errc::config, "bad value: " + source.full("tcp_port") + " = " + port);
  out.default_port = target->front().port;

  const std::vector<std::string> protocols = words(source.plain("inet_protocols"));
  const auto has = [&](const char* word) {
    return std::find(protocols.begin(), protocols.end(), word) != protocols.end();
  };
  out.use_ipv4 = has("all") || has("ipv4");
  out.use_ipv6 = has("all") || has("ipv6");
  const std::string prefer = lower(source.text("address_preference", "any"));
  if (prefer == "ipv4") out.prefer = ClientOptions::Prefer::ipv4;
  if (prefer == "ipv6") out.prefer = ClientOptions::Prefer::ipv6;
  out.balance_protocols = source.flag("balance_inet_protocols", true);
  out.randomize = source.flag("randomize_addresses", true);
  const std::vector<std::string> lookup = words(source.text("host_lookup", "dns"));
  out.use_dns = std::find(lookup.begin(), lookup.end(), "dns") != lookup.end();
  out.use_native = std::find(lookup.begin(), lookup.end(), "native") != lookup.end();
  if (!out.use_dns && !out.use_native) return fail(Errc::config, "bad value: " + source.full("host_lookup"));
  if (config.params().disable_dns_lookups) {
    out.use_dns = false;
    out.use_native = true;
  }
  out.defer_without_mx_address = source.flag("defer_if_no_mx_address_found", false);
  out.ignore_mx_error = config.params().ignore_mx_lookup_error;
  out.address_limit = static_cast<std::size_t>(source.number("mx_address_limit", 5));
  out.session_limit = static_cast<std::size_t>(source.number("mx_session_limit", 2));
  out.bind_address = source.text("bind_address");
  out.bind_address6 = source.text("bind_address6");
  if (!out.lmtp) {
    out.fallback_relay = source.text("fallback_relay");
    out.relayhost = source.plain("relayhost");
    out.best_mx_transport = source.plain("best_mx_transport");
  }
  out.own_addresses = own_addresses(config);

  using std::chrono::seconds;
  out.connect_timeout = source.time("connect_timeout", seconds(out.lmtp ? 0 : 30));
  out.helo_timeout = source.time(out.lmtp ? "lhlo_timeout" : "helo_timeout", seconds(300));
  out.mail_timeout = source.time("mail_timeout", seconds(300));
  out.rcpt_timeout = source.time("rcpt_timeout", seconds(300));
  out.data_init_timeout = source.time("data_init_timeout", seconds(120));
  out.data_xfer_timeout = source.time("data_xfer_timeout", seconds(180));
  out.data_done_timeout = source.time("data_done_timeout", seconds(600));
  out.quit_timeout = source.time("quit_timeout", seconds(300));
  out.rset_timeout = source.time("rset_timeout", seconds(20));
  out.starttls_timeout = source.time("starttls_timeout", seconds(300));

  out.always_ehlo = source.flag("always_send_ehlo", true);
  out.never_ehlo = source.flag("never_send_ehlo", false);
  out.skip_5xx_greeting = source.flag("skip_5xx_greeting", true);
  out.skip_quit_response = source.flag("skip_quit_response", !out.lmtp);
  out.send_xforward = source.flag("send_xforward_command", false);
  out.xforward_timeout = source.time("xforward_timeout", seconds(300));
  out.quote_envelope = source.flag("quote_rfc821_envelope", true);
  out.line_length_limit = static_cast<std::size_t>(source.number("line_length_limit", 998));
  out.discard_keywords = words(source.text(out.lmtp ? "discard_lhlo_keywords" : "discard_ehlo_keywords"));
  out.minimal_backoff = config.params().minimal_backoff_time;

  out.cache_on_demand = source.flag("connection_cache_on_demand", true);
  out.cache_destinations = words(source.text("connection_cache_destinations"));
  out.cache_time = source.time("connection_cache_time_limit", seconds(2));
  out.reuse_time = source.time("connection_reuse_time_limit", seconds(300));
  out.reuse_count = static_cast<std::uint64_t>(source.number("connection_reuse_count_limit", 0));

  read_tls(source, out.tls);
  if (!source.error().empty()) return fail(Errc::config, source.error());
  return out;
}

std::vector<std::string> own_addresses(const config::Config& config) {
  std::vector<std::string> out;
  const std::string interfaces =
      config.value("inet_interfaces").value_or("all") + " " + config.value("proxy_interfaces").value_or("");
  for (const std::string_view word : split(interfaces, ", \t\r\n")) {
    std::string address(word);
    if (address.size() > 2 && address.front() == '[' && address.back() == ']') address = address.substr(1, address.size() - 2);
    if (is_address_literal(address, &address)) out.push_back(address);
    if (!iequals(word, "all") && !iequals(word, "loopback-only")) continue;
    ifaddrs* list = nullptr;
    if (getifaddrs(&list) != 0) continue;
    for (const ifaddrs* one = list; one != nullptr; one = one->ifa_next) {
      if (one->ifa_addr == nullptr) continue;
      char text[INET6_ADDRSTRLEN] = "";
      if (one->ifa_addr->sa_family == AF_INET) {
        inet_ntop(AF_INET, &reinterpret_cast<sockaddr_in*>(one->ifa_addr)->sin_addr, text, sizeof text);
      } else if (one->ifa_addr->sa_family == AF_INET6) {
        inet_ntop(AF_INET6, &reinterpret_cast<sockaddr_in6*>(one->ifa_addr)->sin6_addr, text, sizeof text);
      }
      const std::string_view found(text);
      const bool loopback = found == "::1" || found.substr(0, 4) == "127.";
      if (!found.empty() && (iequals(word, "all") || loopback)) out.emplace_back(found);
    }
    freeifaddrs(list);
  }
  return out;
}

}  // namespace millrace::deliver
