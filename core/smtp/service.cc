// See service.h.
#include "core/smtp/service.h"

#include <utility>

#include "core/base/strings.h"
#include "core/config/host.h"
#include "core/config/overrides.h"
#include "core/config/services.h"
#include "core/smtp/transcript.h"

namespace millrace::smtp {
namespace {

constexpr std::pair<const char*, unsigned> kKeywords[] = {
    {"PIPELINING", kPipelining}, {"SIZE", kSize}, {"VRFY", kVrfy}, {"ETRN", kEtrn}, {"STARTTLS", kStarttls},
    {"AUTH", kAuth}, {"XVERP", kXverp}, {"XCLIENT", kXclient}, {"XFORWARD", kXforward},
    {"ENHANCEDSTATUSCODES", kEnhancedStatusCodes}, {"8BITMIME", kEightBitMime}, {"DSN", kDsn},
    {"SMTPUTF8", kSmtpUtf8}, {"CHUNKING", kChunking}, {"SILENT-DISCARD", kSilentDiscard},
};

// Opens what the parameters name and notes what cannot be.
class Opener {
 public:
  Opener(const ServiceParts& parts, const config::Params& params, config::Findings& findings)
      : parts_(parts), findings_(findings), parents_(split(params.parent_domain_matches_subdomains, ", \t\r\n")) {}

  void error(const char* parameter, std::string text) {
    findings_.error(parts_.config->where(parameter), parameter, std::move(text));
    failed_ = true;
  }
  void warning(const char* parameter, std::string text) {
    findings_.warning(parts_.config->where(parameter), parameter, std::move(text));
  }
  map::MatchList list(const char* parameter, std::string_view value, map::MatchList::Kind kind) {
    bool parent = false;
    for (const std::string_view name : parents_) parent = parent || name == parameter;
    return take(parameter, map::MatchList::open(*parts_.tables, value, kind, parent));
  }
  map::Maps maps(const char* parameter, std::string_view value) {
    return take(parameter, map::Maps::open(*parts_.tables, value));
  }
  bool failed() const { return failed_; }

 private:
  template <typename T>
  T take(const char* parameter, Result<T> opened) {
    if (opened) return std::move(*opened);
    error(parameter, opened.error().context);
    return T();
  }
  const ServiceParts& parts_;
  config::Findings& findings_;
  std::vector<std::string_view> parents_;
  bool failed_ = false;
};

BareNewline bare_newline_of(const std::string& value, Opener& open) {
  if (value == "no") return BareNewline::no;
  if (value == "yes" || value == "normalize") return BareNewline::normalize;
  if (value == "note") return BareNewline::note;
  if (value == "reject") return BareNewline::reject;
  open.error("smtpd_forbid_bare_newline", "bad value: " + value);
  return BareNewline::normalize;
}

unsigned keywords_of(const std::string& value, Opener& open) {
  std::vector<std::string> unknown;
  const unsigned keywords = parse_keywords(value, &unknown);
  for (const std::string& word : unknown) open.error("smtpd_discard_ehlo_keywords", "unknown EHLO keyword: " + word);
  return keywords;
}

enum class TlsLevel { none, may, encrypt };

TlsLevel tls_level(const config::Params& params, Opener& open) {
  const std::string& level = params.smtpd_tls_security_level;
  if (params.smtpd_tls_wrappermode) return TlsLevel::encrypt;
  if (level.empty()) return params.smtpd_enforce_tls ? TlsLevel::encrypt : params.smtpd_use_tls ? TlsLevel::may : TlsLevel::none;
  if (level == "none") return TlsLevel::none;
  if (level == "may") return TlsLevel::may;
  if (level == "verify" || level == "secure" || level == "fingerprint" || level == "dane" || level == "dane-only") {
    open.warning("smtpd_tls_security_level", "unsupported level \"" + level + "\", using \"encrypt\"");
    return TlsLevel::encrypt;
  }
  if (level != "encrypt") open.error("smtpd_tls_security_level", "bad value: " + level);
  return TlsLevel::encrypt;
}

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> out;
  for (const std::string_view word : split(text, ", \t\r\n")) out.emplace_back(word);
  return out;
}

void set_up_tls(ServiceContext& context, const ServiceParts& parts, Opener& open) {
  const config::Params& params = *context.params;
  const TlsLevel level = tls_level(params, open);
  if (level == TlsLevel::none) return;
  context.enforce_tls = level == TlsLevel::encrypt;
  context.tls = parts.tls;
  if (context.tls) return;
  net::TlsOptions options;
  options.chain_files = words_of(params.smtpd_tls_chain_files);
  if (options.chain_files.empty()) {
    options.cert_file = params.smtpd_tls_cert_file == "none" ? "" : params.smtpd_tls_cert_file;
    options.key_file = params.smtpd_tls_key_file;
  }
  options.ca_file = params.smtpd_tls_CAfile;
  options.ca_path = params.smtpd_tls_CApath;
  options.protocols = context.enforce_tls ? params.smtpd_tls_mandatory_protocols : params.smtpd_tls_protocols;
  options.ciphers = context.enforce_tls ? params.smtpd_tls_mandatory_ciphers : params.smtpd_tls_ciphers;
  options.exclude_ciphers = params.smtpd_tls_exclude_ciphers;
  if (context.enforce_tls) options.exclude_ciphers += " " + params.smtpd_tls_mandatory_exclude_ciphers;
  options.ask_client_certificate = params.smtpd_tls_ask_ccert || params.smtpd_tls_req_ccert;
  options.require_client_certificate = params.smtpd_tls_req_ccert && context.enforce_tls;
  if (options.chain_files.empty() && options.cert_file.empty()) {
    // As Postfix: without a key TLS is not offered, and where it is a must the service cannot work.
    if (context.enforce_tls) {
      open.error("smtpd_tls_security_level", "TLS is required, but there is no certificate: set smtpd_tls_chain_files");
    } else {
      open.warning("smtpd_tls_security_level", "no certificate is set: STARTTLS is not offered");
    }
    return;
  }
  Result<std::shared_ptr<net::TlsContext>> made = net::TlsContext::make(options);
  if (!made) {
    return open.error(options.chain_files.empty() ? "smtpd_tls_cert_file" : "smtpd_tls_chain_files", made.error().context);
  }
  context.tls = std::move(*made);
}

void set_up_local_rules(ServiceContext& context, Opener& open) {
  constexpr const char* kName = "local_header_rewrite_clients";
  const config::Params& params = *context.params;
  using Kind = ServiceContext::LocalRule::Kind;
  const std::vector<std::string> words = map::split_list(params.local_header_rewrite_clients);
  for (std::size_t i = 0; i < words.size(); ++i) {
    ServiceContext::LocalRule rule;
    if (words[i] == "permit_inet_interfaces") {
      rule.kind = Kind::inet_interfaces;
      const Result<std::string> own = config::default_mynetworks(config::HostFacts::of_system(), "host",
                                                                 params.inet_interfaces, params.inet_protocols);
      if (!own) {
        open.error("inet_interfaces", own.error().context);
        continue;
      }
      rule.list = open.list(kName, *own, map::MatchList::Kind::address);
    } else if (words[i] == "permit_mynetworks") {
      rule.kind = Kind::mynetworks;
      rule.list = open.list("mynetworks", params.mynetworks, map::MatchList::Kind::address);
    } else if (words[i] == "permit_sasl_authenticated") {
      rule.kind = Kind::sasl;
    } else if (words[i] == "check_address_map" && i + 1 < words.size()) {
      rule.kind = Kind::table;
      rule.maps = open.maps(kName, words[++i]);
    } else if (map::looks_like_table(words[i])) {
      rule.kind = Kind::table;
      rule.maps = open.maps(kName, words[i]);
    } else {
      open.error(kName, "unsupported word: " + words[i]);
      continue;
    }
    context.local_rules.push_back(std::move(rule));
  }
}

}  // namespace

unsigned parse_keywords(std::string_view text, std::vector<std::string>* unknown) {
  unsigned out = 0;
  for (const std::string_view word : split(text, ", \t\r\n")) {
    unsigned bit = 0;
    for (const auto& [name, value] : kKeywords) {
      if (iequals(word, name)) bit = value;
    }
    if (bit == 0 && unknown != nullptr) unknown->emplace_back(word);
    out |= bit;
  }
  return out;
}

std::string keyword_names(unsigned keywords) {
  std::string out;
  for (const auto& [name, value] : kKeywords) {
    if ((keywords & value) == 0 || value == kSilentDiscard) continue;
    if (!out.empty()) out += ' ';
    out += lower(name);
  }
  return out;
}

std::shared_ptr<ServiceContext> ServiceContext::make(ServiceParts parts, config::Findings& findings) {
  using Kind = map::MatchList::Kind;
  auto context = std::make_shared<ServiceContext>();
  context->params = parts.config->params_for(*parts.service, &findings);
  const config::Params& params = *context->params;
  Opener open(parts, params, findings);
  context->name = parts.service->name;
  context->log = log::Logger(params.syslog_name + "/smtpd");
  const std::shared_ptr<const config::Params> cleanup = config::cleanup_params(*parts.config, parts.service);
  context->cleanup_log = log::Logger(cleanup->syslog_name + "/cleanup");
  context->sink = parts.sink;
  context->resolver = params.smtpd_peername_lookup ? parts.resolver : nullptr;
  context->trace = parts.trace;
  context->router = parts.router;
  if (parts.anvil != nullptr) context->anvil.emplace(*parts.anvil, parts.process, params.anvil_rate_time_unit);
  const int limit = parts.service->process_limit;
  context->session_limit = static_cast<std::uint32_t>(limit < 0 ? params.default_process_limit : limit);
  context->flush_site = parts.flush_site;
  context->notify = notify_classes(params.notify_classes);

  // Ignoring these would change what is accepted.
  if (params.smtpd_sasl_auth_enable) open.error("smtpd_sasl_auth_enable", "SASL authentication is not supported yet");
  if (!params.smtpd_proxy_filter.empty()) {
    ProxySettings proxy;
    auto place = parse_proxy_place(params.smtpd_proxy_filter, params.queue_directory);
    if (place) proxy.at = std::move(*place);
    else open.error("smtpd_proxy_filter", place.error().context);
    const auto value = [&](const char* name) { return parts.config->value(name, parts.service).value_or(""); };
    proxy.helo = value("smtpd_proxy_ehlo");
    if (const auto time = config::parse_time(value("smtpd_proxy_timeout")); time && time->count() > 0) proxy.timeout = *time;
    else open.error("smtpd_proxy_timeout", "bad time value: " + value("smtpd_proxy_timeout"));
    for (const std::string& word : words_of(value("smtpd_proxy_options"))) {
      if (iequals(word, "speed_adjust")) proxy.speed_adjust = true;
      else open.error("smtpd_proxy_options", "unknown option: " + word);
    }
    context->proxy = std::move(proxy);
  }

  // Cleanup's parameters are those of its own service: an smtpd service's -o does not reach it.
  auto rewriting = rewrite::Cleanup::make(*cleanup, parts.router, *parts.tables);
  if (rewriting) context->rewriting = std::move(*rewriting);
  else open.error("canonical_maps", rewriting.error().context);
  if (const auto overrides = config::parse_receive_overrides(params.receive_override_options)) {
    context->address_mappings = !overrides->no_mappings;
  } else {
    open.error("receive_override_options", overrides.error().context);
  }

  set_up_tls(*context, parts, open);
  set_up_local_rules(*context, open);
  context->bare_newline = bare_newline_of(params.smtpd_forbid_bare_newline, open);
  context->bare_newline_exclusions =
      open.list("smtpd_forbid_bare_newline_exclusions", params.smtpd_forbid_bare_newline_exclusions, Kind::address);
  context->event_limit_exceptions =
      open.list("smtpd_client_event_limit_exceptions", params.smtpd_client_event_limit_exceptions, Kind::address);
  context->xclient_hosts = open.list("smtpd_authorized_xclient_hosts", params.smtpd_authorized_xclient_hosts, Kind::address);
  context->xforward_hosts = open.list("smtpd_authorized_xforward_hosts", params.smtpd_authorized_xforward_hosts, Kind::address);
  context->verp_clients = open.list("smtpd_authorized_verp_clients", params.smtpd_authorized_verp_clients, Kind::address);
  context->debug_peers = open.list("debug_peer_list", params.debug_peer_list, Kind::address);
  context->verbosity = parts.service->verbosity;
  context->flush_domains = open.list("fast_flush_domains", params.fast_flush_domains, Kind::domain);
  context->noop_commands = open.list("smtpd_noop_commands", params.smtpd_noop_commands, Kind::string);
  context->forbidden_commands = open.list("smtpd_forbidden_commands", params.smtpd_forbidden_commands, Kind::string);
  context->discard_keyword_maps =
      open.maps("smtpd_discard_ehlo_keyword_address_maps", params.smtpd_discard_ehlo_keyword_address_maps);
  context->command_filter = open.maps("smtpd_command_filter", params.smtpd_command_filter);
  context->discard_keywords = keywords_of(params.smtpd_discard_ehlo_keywords, open);

  context->strip_characters = mime::CharacterSet(params.message_strip_characters).without("\r\n");
  context->reject_characters = mime::CharacterSet(params.message_reject_characters).without("\r\n");
  context->expansion_filter = mime::CharacterSet(params.smtpd_expansion_filter);
  context->header_policy.drop = mime::parse_header_names(cleanup->message_drop_headers);
  context->header_policy.add_missing =
      cleanup->always_add_missing_headers || !cleanup->remote_header_rewrite_domain.empty();
  context->rewrites_remote_headers = !cleanup->remote_header_rewrite_domain.empty();
  context->header_policy.long_queue_ids = params.enable_long_queue_ids;
  context->header_policy.host = params.myhostname;
  context->header_policy.undisclosed_recipients = cleanup->undisclosed_recipients_header;
  context->builder_limits.line_length = static_cast<std::size_t>(params.line_length_limit);
  context->builder_limits.header_size = static_cast<std::size_t>(cleanup->header_size_limit);
  context->chain = std::move(parts.chain);
  return open.failed() ? nullptr : context;
}

bool ServiceContext::is_local_client(std::string_view socket_address, const filter::SessionFacts& facts) const {
  for (const LocalRule& rule : local_rules) {
    switch (rule.kind) {
      case LocalRule::Kind::inet_interfaces:
        // The address of the socket, not what XCLIENT made of it; a unix-domain client is ours.
        if (socket_address.empty() || rule.list.matches(socket_address).value_or(false)) return true;
        break;
      case LocalRule::Kind::mynetworks:
        if (rule.list.matches(facts.client_address).value_or(false)) return true;
        break;
      case LocalRule::Kind::sasl:
        if (!facts.sasl_username.empty()) return true;
        break;
      case LocalRule::Kind::table: {
        const map::Lookup found = rule.maps.find(facts.client_address);
        if (found && *found) return true;
        break;
      }
    }
  }
  return false;
}

unsigned ServiceContext::next_session_number() const {
  if (anvil) {
    Anvil shared = *anvil;
    return shared.next_session_number();
  }
  return numbers.fetch_add(1, std::memory_order_relaxed) + 1;
}

std::string ServiceContext::expand_footer(
    const std::function<std::optional<std::string>(std::string_view)>& lookup) const {
  const Result<std::string> expanded =
      config::expand_macros(params->smtpd_reject_footer, [&](std::string_view name) -> std::optional<std::string> {
        std::optional<std::string> value = lookup(name);
        if (!value) return std::string();
        for (char& c : *value) {
          if (!expansion_filter.in(std::string_view(&c, 1))) c = '_';
        }
        return value;
      });
  return expanded ? *expanded : std::string();
}

}  // namespace millrace::smtp
