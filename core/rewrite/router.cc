#include "core/rewrite/router.h"

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

class TableRouter : public Router {
 public:
  static Result<std::shared_ptr<Router>> make(std::shared_ptr<const config::Config> config,
                                              const config::Params& params, map::TableSet& tables);

  std::string rewrite(std::string_view address) const override;
  Result<Route> resolve(std::string_view recipient, std::string_view sender) const override;
  Result<bool> is_auth_destination(std::string_view recipient) const override;
  Result<bool> is_local_domain(std::string_view domain) const override;
  bool is_deliverable_syntax(std::string_view address) const override;
  Result<std::string> unlisted(std::string_view recipient, int* code) const override;

 private:
  Result<Resolved> resolve_all(std::string_view address) const;
  Result<bool> strip_local_domains(Tokens& tokens, Tokens& stripped) const;
  Result<void> classify(Resolved& out, bool remote) const;
  Result<void> apply_transport_maps(Resolved& out) const;
  Result<void> apply_relocated_maps(Resolved& out) const;
  Result<std::optional<std::string>> find(const map::Maps& maps, std::string_view address) const;
  Result<bool> listed(const map::Maps& maps, std::string_view address) const;

  std::shared_ptr<const config::Config> config_;
  config::Params params_;
  RewriteRules rules_;
  OwnAddresses own_;
  map::MatchList mydestination_, virtual_alias_domains_, virtual_mailbox_domains_, relay_domains_;
  map::Maps transport_maps_, virtual_alias_maps_, virtual_mailbox_maps_, relay_recipient_maps_;
  map::Maps canonical_maps_, recipient_canonical_maps_, relocated_maps_;
  LocalRecipients local_recipients_;
  bool transport_parents_ = false;   // transport_maps in parent_domain_matches_subdomains
};

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
      {"transport_maps", params.transport_maps, out->transport_maps_},
      {"virtual_alias_maps", params.virtual_alias_maps, out->virtual_alias_maps_},
      {"virtual_mailbox_maps", params.virtual_mailbox_maps, out->virtual_mailbox_maps_},
      {"relay_recipient_maps", params.relay_recipient_maps, out->relay_recipient_maps_},
      {"canonical_maps", params.canonical_maps, out->canonical_maps_},
      {"recipient_canonical_maps", params.recipient_canonical_maps, out->recipient_canonical_maps_},
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
  for (const auto& [name, value] : {std::pair("local_transport", &params.local_transport),
                                    std::pair("virtual_transport", &params.virtual_transport),
                                    std::pair("relay_transport", &params.relay_transport),
                                    std::pair("default_transport", &params.default_transport)}) {
    if (value->empty() || (*value)[0] == ':')
      return fail(Errc::config, std::string(name) + ": null transport is not allowed");
  }
  return std::shared_ptr<Router>(std::move(out));
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
      // "user@" is nobody's: a broken domain (resolve_null_domain is not supported).
      if (at + 1 == tokens.size()) return true;
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
      if (params_.resolve_dequoted_address &&
          (inner.find('@') != npos || (rules_.allow_percent_hack && inner.find('%') != npos) ||
           (rules_.swap_bangpath && inner.find('!') != npos))) {
        tokens = scan_address(inner);
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

Result<Resolved> TableRouter::resolve_all(std::string_view address) const {
  const std::string rewritten = rewrite(address);
  Resolved out;
  Tokens tokens = scan_address(params_.resolve_dequoted_address ? rewritten : map::quote_address(rewritten));
  Tokens stripped;
  const auto remote = strip_local_domains(tokens, stripped);
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
  if (!is_valid_domain(out.domain) || out.route.recipient[0] == '-') {
    out.bad_syntax = true;
    out.route.transport = "error";
    out.route.nexthop = "5.1.3 bad address syntax";
    return out;
  }
  // Whether or not we follow % and !, the next host may.
  const std::size_t first = out.route.recipient.find_first_of("@!%");
  out.routed = out.route.recipient.substr(first + 1) != out.domain;
  if (auto done = classify(out, *remote); !done) return tl::unexpected(done.error());
  if (auto done = apply_transport_maps(out); !done) return tl::unexpected(done.error());
  if (auto done = apply_relocated_maps(out); !done) return tl::unexpected(done.error());
  return out;
}

Result<void> TableRouter::classify(Resolved& out, bool remote) const {
  const auto is_in = [&](const map::MatchList& list, const char* name) -> Result<bool> {
    auto found = list.matches(out.domain);
    if (!found) return fail(name, found.error());
    return found;
  };
  Destination destination{"", out.domain};
  const std::string* parameter = &params_.local_transport;
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
    parameter = *mailbox ? &params_.virtual_transport
                : *relay ? &params_.relay_transport
                         : &params_.default_transport;
    if (!*mailbox && !params_.relayhost.empty()) destination.nexthop = params_.relayhost;
  }
  apply_parameter(*parameter, destination);
  out.route.transport = std::move(destination.transport);
  out.route.nexthop = std::move(destination.nexthop);
  return {};
}

// transport(5), "TABLE SEARCH ORDER".
Result<void> TableRouter::apply_transport_maps(Resolved& out) const {
  if (transport_maps_.empty() || out.route.address_class == AddressClass::virtual_alias) return {};
  const std::string& recipient = out.route.recipient;
  map::Lookup found = std::optional<std::string>();
  // True when the search is over: found, or failed.
  const auto ask = [&](const std::string& key, bool whole) {
    found = whole ? transport_maps_.find(key) : transport_maps_.find_partial(key);
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
  if (!found) return fail("transport_maps", found.error());
  if (!*found) return {};
  Destination destination{out.route.transport, out.route.nexthop};
  apply_table_result(**found, out.domain, destination);
  out.route.transport = std::move(destination.transport);
  out.route.nexthop = std::move(destination.nexthop);
  return {};
}

Result<Route> TableRouter::resolve(std::string_view recipient, std::string_view) const {
  auto resolved = resolve_all(recipient);
  if (!resolved) return tl::unexpected(resolved.error());
  return std::move(resolved->route);
}

bool TableRouter::is_deliverable_syntax(std::string_view address) const {
  if (address.empty()) return true;
  const auto resolved = resolve_all(address);
  return !resolved || !resolved->bad_syntax;
}

Result<bool> TableRouter::is_auth_destination(std::string_view recipient) const {
  const auto resolved = resolve_all(recipient);
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

Result<std::string> TableRouter::unlisted(std::string_view recipient, int* code) const {
  const auto resolved = resolve_all(recipient);
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
  for (const map::Maps* maps : {&recipient_canonical_maps_, &canonical_maps_, &virtual_alias_maps_}) {
    const auto there = listed(*maps, address);
    if (!there) return tl::unexpected(there.error());
    if (*there) return std::string();
  }
  if (route.address_class == AddressClass::virtual_alias && !resolved->moved)
    return unknown(params_.unknown_virtual_alias_reject_code, "virtual alias");
  if (route.transport == "error") return say(550, route.nexthop);
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
  return TableRouter::make(std::move(config), params, tables);
}

std::string quote_local(std::string_view internal_address) { return map::quote_address(internal_address); }
std::string unquote_local(std::string_view external_address) { return map::unquote_address(external_address); }

}  // namespace millrace::rewrite
