#include "core/rewrite/router.h"

#include <fmt/format.h>

#include <set>

#include "core/base/log.h"
#include "core/base/strings.h"
#include "core/map/text.h"
#include "core/rewrite/address.h"
#include "core/rewrite/domain.h"
#include "core/rewrite/own_addresses.h"
#include "core/rewrite/recipients.h"
#include "core/rewrite/transport_entry.h"

namespace millrace::rewrite {

namespace {

// An address cannot hold more routing than characters; this is for what nobody thought of.
constexpr int kMaxRounds = 100;

struct Resolved {
  Route route;
  std::string domain;
  bool bad_syntax = false;
  bool routed = false;    // the local part holds routing characters
  bool moved = false;     // relocated_maps has it
};

// What chooses transports, of mail and of address verification probes: two sets of parameters.
struct Plan {
  struct Names {
    const char *local, *virtual_mailbox, *relay, *other, *relayhost, *transports, *sender_relayhosts, *sender_transports;
  };
  Names names;
  std::string local, virtual_mailbox, relay, other, relayhost;
  map::Maps transports, sender_relayhosts, sender_transports;
};
constexpr Plan::Names kMailNames = {"local_transport", "virtual_transport", "relay_transport", "default_transport", "relayhost",
                                    "transport_maps", "sender_dependent_relayhost_maps",
                                    "sender_dependent_default_transport_maps"};
constexpr Plan::Names kProbeNames = {"address_verify_local_transport", "address_verify_virtual_transport",
                                     "address_verify_relay_transport", "address_verify_default_transport",
                                     "address_verify_relayhost", "address_verify_transport_maps",
                                     "address_verify_sender_dependent_relayhost_maps",
                                     "address_verify_sender_dependent_default_transport_maps"};

class TableRouter : public Router {
 public:
  static Result<std::shared_ptr<Router>> make(std::shared_ptr<const config::Config> config,
                                              const config::Params& params, map::TableSet& tables);

  bool may_suspend() const override;
  std::string rewrite(std::string_view address) const override;
  Result<Route> resolve(std::string_view recipient, std::string_view sender) const override;
  Result<Route> resolve_probe(std::string_view recipient, std::string_view sender) const override;
  Result<bool> is_auth_destination(std::string_view recipient) const override;
  Result<bool> is_local_domain(std::string_view domain) const override;
  bool is_deliverable_syntax(std::string_view address) const override;
  Result<std::string> unlisted(std::string_view address, Role role, std::string_view other, int* code) const override;

 private:
  static Result<Plan> make_plan(const Plan::Names& names, const config::Params& params, map::TableSet& tables);
  Result<Resolved> resolve_all(const Plan& plan, std::string_view address, std::string_view sender) const;
  Result<bool> strip_local_domains(Tokens& tokens, Tokens& stripped) const;
  Result<void> classify(const Plan& plan, Resolved& out, bool remote, std::string_view sender) const;
  Result<std::string> of_sender(const map::Maps& maps, const char* name, std::string_view sender,
                                const std::string& key_of_null) const;
  Result<void> apply_transport_maps(const Plan& plan, Resolved& out) const;
  Result<void> apply_relocated_maps(Resolved& out) const;
  Result<std::optional<std::string>> find(const map::Maps& maps, std::string_view address) const;
  Result<bool> listed(const map::Maps& maps, std::string_view address) const;

  std::shared_ptr<const config::Config> config_;
  config::Params params_;
  RewriteRules rules_;
  OwnAddresses own_;
  map::MatchList mydestination_, virtual_alias_domains_, virtual_mailbox_domains_, relay_domains_;
  Plan mail_, probe_;
  map::Maps virtual_alias_maps_, virtual_mailbox_maps_, relay_recipient_maps_;
  map::Maps canonical_maps_, recipient_canonical_maps_, sender_canonical_maps_, relocated_maps_;
  LocalRecipients local_recipients_;
  bool transport_parents_ = false;   // transport_maps in parent_domain_matches_subdomains
  log::Logger log_;
};

Result<Plan> TableRouter::make_plan(const Plan::Names& names, const config::Params& params, map::TableSet& tables) {
  const bool mail = std::string_view(names.local) == "local_transport";
  Plan out{names, {}, {}, {}, {}, {}, {}, {}, {}};
  out.local = mail ? params.local_transport : params.address_verify_local_transport;
  out.virtual_mailbox = mail ? params.virtual_transport : params.address_verify_virtual_transport;
  out.relay = mail ? params.relay_transport : params.address_verify_relay_transport;
  out.other = mail ? params.default_transport : params.address_verify_default_transport;
  out.relayhost = mail ? params.relayhost : params.address_verify_relayhost;
  for (const auto& [name, value] : {std::pair(names.local, &out.local), std::pair(names.virtual_mailbox, &out.virtual_mailbox),
                                    std::pair(names.relay, &out.relay), std::pair(names.other, &out.other)}) {
    if (value->empty() || (*value)[0] == ':')
      return fail(Errc::config, std::string(name) + ": null transport is not allowed");
  }
  const struct { const char* name; const std::string& value; map::Maps& maps; } all_maps[] = {
      {names.transports, mail ? params.transport_maps : params.address_verify_transport_maps, out.transports},
      {names.sender_relayhosts,
       mail ? params.sender_dependent_relayhost_maps : params.address_verify_sender_dependent_relayhost_maps,
       out.sender_relayhosts},
      {names.sender_transports,
       mail ? params.sender_dependent_default_transport_maps
            : params.address_verify_sender_dependent_default_transport_maps,
       out.sender_transports},
  };
  for (const auto& maps : all_maps) {
    auto opened = map::Maps::open(tables, maps.value);
    if (!opened) return fail(maps.name, opened.error());
    maps.maps = std::move(*opened);
  }
  return out;
}

Result<std::shared_ptr<Router>> TableRouter::make(std::shared_ptr<const config::Config> config,
                                                  const config::Params& params, map::TableSet& tables) {
  auto out = std::make_shared<TableRouter>();
  out->config_ = std::move(config);
  out->params_ = params;
  out->rules_ = {params.append_at_myorigin, params.append_dot_mydomain, params.swap_bangpath,
                 params.allow_percent_hack, params.myorigin, params.mydomain};
  const auto parents = [&](std::string_view parameter) {
    for (const std::string_view word : split(params.parent_domain_matches_subdomains, ", \t\r\n")) {
      if (iequals(word, parameter)) return true;
    }
    return false;
  };
  auto own = OwnAddresses::make(params.inet_interfaces, params.proxy_interfaces, params.inet_protocols);
  if (!own) return tl::unexpected(own.error());
  out->own_ = std::move(*own);

  using Kind = map::MatchList::Kind;
  const struct { const char* name; const std::string& value; Kind kind; map::MatchList& list; } lists[] = {
      {"mydestination", params.mydestination, Kind::string, out->mydestination_},
      {"virtual_alias_domains", params.virtual_alias_domains, Kind::string, out->virtual_alias_domains_},
      {"virtual_mailbox_domains", params.virtual_mailbox_domains, Kind::string, out->virtual_mailbox_domains_},
      {"relay_domains", params.relay_domains, Kind::domain, out->relay_domains_},
  };
  for (const auto& list : lists) {
    auto opened = map::MatchList::open(tables, list.value, list.kind, parents(list.name));
    if (!opened) return fail(list.name, opened.error());
    list.list = std::move(*opened);
  }
  const struct { const char* name; const std::string& value; map::Maps& maps; } all_maps[] = {
      {"virtual_alias_maps", params.virtual_alias_maps, out->virtual_alias_maps_},
      {"virtual_mailbox_maps", params.virtual_mailbox_maps, out->virtual_mailbox_maps_},
      {"relay_recipient_maps", params.relay_recipient_maps, out->relay_recipient_maps_},
      {"canonical_maps", params.canonical_maps, out->canonical_maps_},
      {"recipient_canonical_maps", params.recipient_canonical_maps, out->recipient_canonical_maps_},
      {"sender_canonical_maps", params.sender_canonical_maps, out->sender_canonical_maps_},
      {"relocated_maps", params.relocated_maps, out->relocated_maps_},
  };
  for (const auto& maps : all_maps) {
    auto opened = map::Maps::open(tables, maps.value);
    if (!opened) return fail(maps.name, opened.error());
    maps.maps = std::move(*opened);
  }
  auto local = LocalRecipients::make(out->config_.get(), params, tables);
  if (!local) return tl::unexpected(local.error());
  out->local_recipients_ = std::move(*local);
  out->transport_parents_ = parents("transport_maps");
  for (const auto& [names, plan] : {std::pair(&kMailNames, &out->mail_), std::pair(&kProbeNames, &out->probe_)}) {
    auto made = make_plan(*names, params, tables);
    if (!made) return tl::unexpected(made.error());
    *plan = std::move(*made);
  }
  out->log_ = log::Logger(params.syslog_name + "/trivial-rewrite");
  return std::shared_ptr<Router>(std::move(out));
}

bool TableRouter::may_suspend() const {
  for (const map::MatchList* list : {&mydestination_, &virtual_alias_domains_, &virtual_mailbox_domains_, &relay_domains_}) {
    if (list->may_suspend()) return true;
  }
  for (const map::Maps* maps : {&mail_.transports, &mail_.sender_relayhosts, &mail_.sender_transports, &probe_.transports,
                                &probe_.sender_relayhosts, &probe_.sender_transports, &relocated_maps_}) {
    if (maps->may_suspend()) return true;
  }
  return false;
}

std::string TableRouter::rewrite(std::string_view address) const {
  if (address.empty()) return {};
  Tokens tokens = scan_address(map::quote_address(address));
  rewrite_tokens(tokens, rules_);
  return internal_text(tokens);
}

Result<bool> TableRouter::is_local_domain(std::string_view domain) const {
  if (domain.ends_with('.')) domain.remove_suffix(1);
  if (domain.empty() || domain.ends_with('.')) return false;
  const auto listed = mydestination_.matches(domain);
  if (!listed) return fail("mydestination", listed.error());
  return *listed || own_.contains_literal(domain);
}

// Takes domains of ours off the end until none is left (false) or the domain is another's (true): whatever
// routing hides before our own name must not get past the relay rules.
Result<bool> TableRouter::strip_local_domains(Tokens& tokens, Tokens& stripped) const {
  constexpr std::size_t npos = std::string::npos;
  for (int round = 0; !tokens.empty() && round < kMaxRounds; ++round) {
    if (find_last(tokens, '@') != npos) strip_final_dot(tokens);
    if (const std::size_t at = find_last(tokens, '@'); at != npos) {
      const auto split = tokens.begin() + static_cast<std::ptrdiff_t>(at);
      if (at + 1 == tokens.size()) {
        // "user@" is nobody's, unless it is to mean this host.
        if (!params_.resolve_null_domain) return true;
        tokens.pop_back();
        continue;
      }
      const auto local = is_local_domain(internal_text(Tokens(split + 1, tokens.end())));
      if (!local) return local;
      if (!*local) return true;
      stripped.assign(split, tokens.end());
      tokens.erase(split, tokens.end());
    }
    if (find_last(tokens, '@') != npos || (rules_.swap_bangpath && find_last(tokens, '!') != npos) ||
        (rules_.allow_percent_hack && find_last(tokens, '%') != npos)) {
      rewrite_tokens(tokens, rules_);
      continue;
    }
    if (tokens.size() == 1 && tokens[0].kind == Token::Kind::quoted) {
      // Routing inside a quoted local part: technically opaque, in practice followed by somebody.
      const std::string inner = tokens[0].text;
      std::size_t at = params_.resolve_dequoted_address ? inner.rfind('@') : npos;
      if (at == npos && params_.resolve_dequoted_address && rules_.allow_percent_hack) at = inner.rfind('%');
      const bool bang = at == npos && params_.resolve_dequoted_address && rules_.swap_bangpath && inner.find('!') != npos;
      if (at != npos || bang) {
        std::string opened = inner;
        if (at != npos) opened[at] = '@';
        tokens = scan_address(bang ? opened : map::quote_address(opened));
        rewrite_tokens(tokens, rules_);
        continue;
      }
      if (inner.empty()) tokens.clear();
    }
    break;
  }
  if (tokens.empty()) tokens = scan_address(params_.empty_address_recipient);
  return false;
}

Result<Resolved> TableRouter::resolve_all(const Plan& plan, std::string_view address, std::string_view sender) const {
  const std::string rewritten = rewrite(address);
  Resolved out;
  Tokens tokens = scan_address(map::quote_address(rewritten));
  Tokens stripped;
  auto remote = strip_local_domains(tokens, stripped);
  if (!remote) return tl::unexpected(remote.error());
  if (!*remote) {
    if (stripped.size() < 2) {
      stripped = {{Token::Kind::special, "@"}};
      const Tokens host = scan_address(params_.myhostname);
      stripped.insert(stripped.end(), host.begin(), host.end());
    }
    tokens.insert(tokens.end(), stripped.begin(), stripped.end());
  }
  out.route.recipient = internal_text(tokens);
  out.domain = out.route.recipient.substr(out.route.recipient.rfind('@') + 1);
  if (params_.resolve_numeric_domain && map::parse_address(out.domain)) {
    out.route.recipient.insert(out.route.recipient.size() - out.domain.size(), "[").append("]");
    out.domain = "[" + out.domain + "]";
    const auto local = is_local_domain(out.domain);
    if (!local) return tl::unexpected(local.error());
    *remote = !*local;
  }
  if (!is_valid_domain(out.domain) || (out.route.recipient[0] == '-' && !params_.allow_min_user)) {
    out.bad_syntax = true;
    out.route.transport = "error";
    out.route.nexthop = "5.1.3 bad address syntax";
    return out;
  }
  // Whether or not we follow % and !, the next host may.
  const std::size_t first = out.route.recipient.find_first_of("@!%");
  out.routed = out.route.recipient.substr(first + 1) != out.domain;
  if (auto done = classify(plan, out, *remote, sender); !done) return tl::unexpected(done.error());
  if (auto done = apply_transport_maps(plan, out); !done) return tl::unexpected(done.error());
  if (auto done = apply_relocated_maps(out); !done) return tl::unexpected(done.error());
  return out;
}

// What a sender-dependent table has: "" for nothing, and for DUNNO "DUNNO".
Result<std::string> TableRouter::of_sender(const map::Maps& maps, const char* name, std::string_view sender,
                                           const std::string& key_of_null) const {
  if (maps.empty()) return std::string();
  const std::string_view key = sender.empty() ? std::string_view(key_of_null) : sender;
  auto found = find(maps, key);
  if (!found) return fail(name, found.error());
  if (!*found) return std::string();
  if (!(*found)->empty()) return iequals(**found, "DUNNO") ? "DUNNO" : std::move(**found);
  log_.warning(fmt::format("{}: ignoring null lookup result for {}", name, printable(key)));
  return std::string("DUNNO");
}

Result<void> TableRouter::classify(const Plan& plan, Resolved& out, bool remote, std::string_view sender) const {
  const auto is_in = [&](const map::MatchList& list, const char* name) -> Result<bool> {
    auto found = list.matches(out.domain);
    if (!found) return fail(name, found.error());
    return found;
  };
  Destination destination{"", out.domain};
  std::string transport = plan.local;
  out.route.address_class = AddressClass::local;
  if (remote) {
    const auto alias = is_in(virtual_alias_domains_, "virtual_alias_domains");
    if (!alias) return tl::unexpected(alias.error());
    if (*alias) {
      out.route.address_class = AddressClass::virtual_alias;
      out.route.transport = "error";
      out.route.nexthop = "5.1.1 User unknown";
      if (params_.show_user_unknown_table_name) out.route.nexthop += " in virtual alias table";
      return {};
    }
    const auto mailbox = is_in(virtual_mailbox_domains_, "virtual_mailbox_domains");
    if (!mailbox) return tl::unexpected(mailbox.error());
    const auto relay = *mailbox ? Result<bool>(false) : is_in(relay_domains_, "relay_domains");
    if (!relay) return tl::unexpected(relay.error());
    out.route.address_class = *mailbox ? AddressClass::virtual_mailbox
                              : *relay ? AddressClass::relay
                                       : AddressClass::other;
    transport = *mailbox ? plan.virtual_mailbox : *relay ? plan.relay : plan.other;
    if (out.route.address_class == AddressClass::other) {
      auto own = of_sender(plan.sender_transports, plan.names.sender_transports, sender,
                           params_.empty_address_default_transport_maps_lookup_key);
      if (!own) return tl::unexpected(own.error());
      if (!own->empty() && *own != "DUNNO") transport = std::move(*own);
    }
    if (!*mailbox) {
      auto own = of_sender(plan.sender_relayhosts, plan.names.sender_relayhosts, sender,
                           params_.empty_address_relayhost_maps_lookup_key);
      if (!own) return tl::unexpected(own.error());
      if (own->empty() && !plan.relayhost.empty()) destination.nexthop = plan.relayhost;
      if (!own->empty() && *own != "DUNNO") destination.nexthop = std::move(*own);
    }
  }
  apply_parameter(transport, destination);
  if (destination.transport.empty()) {
    return fail(Errc::temporary, std::string(plan.names.sender_transports) + ": null transport is not allowed");
  }
  out.route.transport = std::move(destination.transport);
  out.route.nexthop = std::move(destination.nexthop);
  return {};
}

// transport(5), "TABLE SEARCH ORDER".
Result<void> TableRouter::apply_transport_maps(const Plan& plan, Resolved& out) const {
  if (plan.transports.empty() || out.route.address_class == AddressClass::virtual_alias) return {};
  const std::string& recipient = out.route.recipient;
  map::Lookup found = std::optional<std::string>();
  // True when the search is over: found, or failed.
  const auto ask = [&](const std::string& key, bool whole) {
    found = whole ? plan.transports.find(key) : plan.transports.find_partial(key);
    return !found || *found;
  };
  const auto ask_address = [&](const std::string& internal, bool whole) {
    const std::string external = map::quote_address(internal);
    return ask(external, whole) || (external != internal && ask(internal, whole));
  };
  const std::size_t at = recipient.rfind('@');
  const auto [user, extension] =
      map::split_extension(std::string_view(recipient).substr(0, at), params_.recipient_delimiter);
  bool over = ask_address(recipient, true);
  if (!over && !extension.empty()) over = ask_address(std::string(user) + recipient.substr(at), false);
  for (std::string_view part = out.domain; !over && !part.empty();) {
    over = ask(std::string(part), false);
    const std::size_t dot = part.find('.', 1);
    part = dot == part.npos ? "" : part.substr(dot + (transport_parents_ ? 1 : 0));
  }
  if (!over) ask("*", false);
  if (!found) return fail(plan.names.transports, found.error());
  if (!*found) return {};
  Destination destination{out.route.transport, out.route.nexthop};
  apply_table_result(**found, out.domain, destination);
  out.route.transport = std::move(destination.transport);
  out.route.nexthop = std::move(destination.nexthop);
  return {};
}

Result<Route> TableRouter::resolve(std::string_view recipient, std::string_view sender) const {
  auto resolved = resolve_all(mail_, recipient, sender);
  if (!resolved) return tl::unexpected(resolved.error());
  return std::move(resolved->route);
}

Result<Route> TableRouter::resolve_probe(std::string_view recipient, std::string_view sender) const {
  auto resolved = resolve_all(probe_, recipient, sender);
  if (!resolved) return tl::unexpected(resolved.error());
  return std::move(resolved->route);
}

bool TableRouter::is_deliverable_syntax(std::string_view address) const {
  if (address.empty()) return true;
  const auto resolved = resolve_all(mail_, address, {});
  return !resolved || !resolved->bad_syntax;
}

Result<bool> TableRouter::is_auth_destination(std::string_view recipient) const {
  const auto resolved = resolve_all(mail_, recipient, {});
  if (!resolved) return tl::unexpected(resolved.error());
  if (resolved->bad_syntax || (resolved->routed && !params_.allow_untrusted_routing)) return false;
  return resolved->route.address_class != AddressClass::other;
}

// Those who moved are told so, in every class: whatever transport_maps said.
Result<void> TableRouter::apply_relocated_maps(Resolved& out) const {
  const auto found = find(relocated_maps_, out.route.recipient);
  if (!found) return fail("relocated_maps", found.error());
  if (!*found) return {};
  out.moved = true;
  out.route.transport = "error";
  out.route.nexthop = "5.1.6 User has moved to " + **found;
  return {};
}

Result<std::optional<std::string>> TableRouter::find(const map::Maps& maps, std::string_view address) const {
  if (maps.empty()) return std::optional<std::string>();
  const std::string_view domain = address.substr(address.rfind('@') + 1);
  const auto local = is_local_domain(domain);
  if (!local) return tl::unexpected(local.error());
  const bool local_names = *local || iequals(domain, params_.myorigin);
  return maps.find_address(address, params_.recipient_delimiter, [&](std::string_view) { return local_names; }, nullptr);
}

Result<bool> TableRouter::listed(const map::Maps& maps, std::string_view address) const {
  const auto found = find(maps, address);
  if (!found) return tl::unexpected(found.error());
  return found->has_value();
}

Result<std::string> TableRouter::unlisted(std::string_view asked, Role role, std::string_view other, int* code) const {
  const auto resolved = resolve_all(mail_, asked, other);
  if (!resolved) return tl::unexpected(resolved.error());
  const Route& route = resolved->route;
  const std::string& address = route.recipient;
  const auto say = [&](std::int64_t value, std::string text) {
    if (code != nullptr) *code = static_cast<int>(value);
    return text;
  };
  const auto unknown = [&](std::int64_t value, const char* table) {
    return say(value, params_.show_user_unknown_table_name ? std::string("User unknown in ") + table + " table"
                                                           : std::string("User unknown"));
  };
  // What will be rewritten exists.
  const map::Maps none;
  for (const map::Maps* maps : {&recipient_canonical_maps_, role == Role::sender ? &sender_canonical_maps_ : &none,
                                &canonical_maps_, &virtual_alias_maps_}) {
    const auto there = listed(*maps, address);
    if (!there) return tl::unexpected(there.error());
    if (*there) return std::string();
  }
  const bool alias = route.address_class == AddressClass::virtual_alias;
  if (route.transport == "error") return say(alias ? params_.unknown_virtual_alias_reject_code : 550, route.nexthop);
  if (route.transport == "retry") return say(450, route.nexthop);

  const auto is_name = [&](std::string_view name) {   // name@…
    return istarts_with(address, name) && address.size() > name.size() && address[name.size()] == '@';
  };
  Result<bool> known = true;
  switch (route.address_class) {
    case AddressClass::local:
      if (local_recipients_.accepts_all() || is_name("postmaster") || is_name("mailer-daemon") ||
          is_name(params_.double_bounce_sender))
        return std::string();
      known = local_recipients_.knows(address, params_.recipient_delimiter);
      if (known && !*known) return unknown(params_.unknown_local_recipient_reject_code, "local recipient");
      break;
    case AddressClass::virtual_mailbox:
      if (virtual_mailbox_maps_.empty()) return std::string();
      known = listed(virtual_mailbox_maps_, address);
      if (known && !*known) return unknown(params_.unknown_virtual_mailbox_reject_code, "virtual mailbox");
      break;
    case AddressClass::relay:
      if (relay_recipient_maps_.empty()) return std::string();
      known = listed(relay_recipient_maps_, address);
      if (known && !*known) return unknown(params_.unknown_relay_recipient_reject_code, "relay recipient");
      break;
    default:
      break;
  }
  if (!known) return tl::unexpected(known.error());
  return std::string();
}

}  // namespace

const char* class_name(AddressClass address_class) {
  switch (address_class) {
    case AddressClass::local: return "local";
    case AddressClass::virtual_alias: return "virtual alias";
    case AddressClass::virtual_mailbox: return "virtual mailbox";
    case AddressClass::relay: return "relay";
    case AddressClass::other: break;
  }
  return "default";
}

Result<std::shared_ptr<Router>> Router::make(std::shared_ptr<const config::Config> config,
                                             const config::Params& params, map::TableSet& tables) {
  map::set_owner_request_special(params.owner_request_special);
  return TableRouter::make(std::move(config), params, tables);
}

std::string quote_local(std::string_view internal_address) { return map::quote_address(internal_address); }
std::string unquote_local(std::string_view external_address) { return map::unquote_address(external_address); }

}  // namespace millrace::rewrite
