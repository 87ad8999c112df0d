// Words about DNS lists of bad and good addresses and domains: rbl, rhsbl, dnswl, rhswl, and the reply
// that $default_rbl_reply and $rbl_reply_maps make.
#include "core/base/strings.h"
#include "core/config/config.h"
#include "core/dnsbl/lookup.h"
#include "core/restrict/run.h"

namespace millrace::restrict {

using net::DnsType;

namespace {

// "sender", "sender_name", "sender_domain" of an address; nullopt for another suffix.
std::optional<std::string> address_part(const std::optional<std::string>& address, std::string_view suffix) {
  if (suffix != "" && suffix != "_name" && suffix != "_domain") return {};
  if (!address) return "";
  if (address->empty()) return suffix == "_domain" ? "" : "<>";
  if (suffix.empty()) return *address;
  const std::size_t at = address->rfind('@');
  if (suffix == "_name") return address->substr(0, at);
  return at == std::string::npos ? "" : address->substr(at + 1);
}

}  // namespace

dnsbl::Finding Run::listing(const dnsbl::Site& site, const std::string& query) {
  if (query.empty()) return {};
  bool first = false;
  const net::DnsAnswer answer = ask(query, DnsType::a, &first);
  dnsbl::Finding finding = dnsbl::judge(answer, site.filter ? &*site.filter : nullptr);
  if (first) {
    if (const std::string what = dnsbl::trouble(finding, query, answer); !what.empty()) warn(what);
  }
  return finding;
}

Status Run::reject_listed(const Step& step, const Listed& about) {
  for (const dnsbl::Site& site : step.sites) {
    const std::string query = about.query(site);
    if (listing(site, query).listing == dnsbl::Listing::listed) return list_reply(site, about, query);
  }
  return Status::dunno;
}

// A list of good clients must not open the relay.
Status Run::permit_listed(const Step& step, const Listed& about) {
  if (recipient_) {
    const auto ours = rules_.environment.router->is_auth_destination(*recipient_);
    if (!ours) return lookup_failure(*recipient_, ours.error());
    if (!*ours) return Status::dunno;
  }
  for (const dnsbl::Site& site : step.sites) {
    switch (listing(site, about.query(site)).listing) {
      case dnsbl::Listing::listed: return Status::ok;
      case dnsbl::Listing::unknown:
        return defer_if_reject(450, "4.7.1", "<" + about.what + ">: " + std::string(about.kind) +
                                                 " rejected: Service unavailable");
      case dnsbl::Listing::not_listed:
      case dnsbl::Listing::blocked: break;
    }
  }
  return Status::dunno;
}

std::string Run::Listed::query(const dnsbl::Site& site) const {
  return is_address ? dnsbl::address_query(what, site.domain) : dnsbl::name_query(what, site.domain);
}

Run::Listed Run::listed_address() const { return {client_address(), "Client host", true}; }

Run::Listed Run::listed_name(std::string_view word) const {
  const auto host = [](std::string name, std::string_view kind) {
    return Listed{name == "unknown" ? std::string() : std::move(name), kind, false};
  };
  if (iends_with(word, "reverse_client")) return host(context_.session.reverse_client_name, "Unverified Client host");
  if (iends_with(word, "_client")) return host(client_name(), "Client host");
  if (iends_with(word, "_helo")) return {helo_, "Helo command", false};
  if (iends_with(word, "_sender")) return {sender_.value_or(""), "Sender address", false};
  return {recipient_.value_or(""), "Recipient address", false};
}

Status Run::reject_rbl_client(const Step& step) { return reject_listed(step, listed_address()); }
Status Run::reject_rhsbl(const Step& step) { return reject_listed(step, listed_name(step.word->name)); }
Status Run::permit_dnswl_client(const Step& step) { return permit_listed(step, listed_address()); }
Status Run::permit_rhswl_client(const Step& step) { return permit_listed(step, listed_name(step.word->name)); }

Status Run::reject_maps_rbl(const Step& step) {
  warn_of_old_word("reject_maps_rbl", "reject_rbl_client domain-name");
  return reject_listed(step, listed_address());
}

void Run::ahead_listed_address(const Step& step) {
  const Listed about = listed_address();
  for (const dnsbl::Site& site : step.sites) start(about.query(site), DnsType::a);
}

void Run::ahead_listed_name(const Step& step) {
  const Listed about = listed_name(step.word->name);
  for (const dnsbl::Site& site : step.sites) start(about.query(site), DnsType::a);
}

// Of the names in a reply template; nullopt for one that Postfix does not know.
std::optional<std::string> Run::reply_macro(std::string_view name, const dnsbl::Site& site, const Listed& about,
                                            const std::string& text) const {
  if (name == "rbl_code") return std::to_string(params_.maps_rbl_reject_code);
  if (name == "rbl_domain") return site.domain;
  if (name == "rbl_reason" || name == "rbl_txt") return text;
  if (name == "rbl_what") return about.what;
  if (name == "rbl_class") return std::string(about.kind);
  if (name == "client") return client();
  if (name == "client_address") return client_address();
  if (name == "client_port") return context_.session.client_port;
  if (name == "client_name") return client_name();
  if (name == "reverse_client_name") return context_.session.reverse_client_name;
  if (name == "helo_name") return helo_;
  if (name == "server_name") return params_.myhostname;
  if (name == "localtime") return syslog_date(wall_now());
  if (name.starts_with("sender")) return address_part(sender_, name.substr(6));
  if (name.starts_with("recipient")) return address_part(recipient_, name.substr(9));
  return {};
}

Status Run::list_reply(const dnsbl::Site& site, const Listed& about, const std::string& query) {
  const net::DnsAnswer texts = ask(query, DnsType::txt);
  if (texts.status == net::DnsStatus::temporary || texts.status == net::DnsStatus::bogus) {
    warn(query + ": TXT lookup error: " + texts.why);
  }
  const std::string text = dnsbl::reason(texts);
  const auto expand = [&](const std::string& format) -> std::optional<std::string> {
    bool unknown = false;
    const auto expanded = config::expand_macros(format, [&](std::string_view name) -> std::optional<std::string> {
      std::optional<std::string> value = reply_macro(name, site, about, text);
      if (!value) {
        warn("unknown macro name \"" + std::string(name) + "\" in expansion request");
        unknown = true;
        return std::string();
      }
      for (char& c : *value) {
        if (!rules_.reply_characters.in(std::string_view(&c, 1))) c = '_';
      }
      return value;
    });
    if (!expanded || unknown) return {};
    return *expanded;
  };
  const map::Lookup own = rules_.rbl_replies.find(site.text);
  if (!own) return config_error(own.error().context);
  std::optional<std::string> reply;
  if (*own) {
    reply = expand(**own);
    if (!reply) warn("rbl_reject_reply: bad rbl reply template for domain " + site.text + ": " + **own);
  }
  if (!reply) reply = expand(params_.default_rbl_reply);
  std::string_view rest = reply ? std::string_view(*reply) : std::string_view();
  const bool well_formed = rest.size() >= 4 && (rest[0] == '4' || rest[0] == '5') && is_digit(rest[1]) &&
                           is_digit(rest[2]) && rest[3] == ' ';
  if (!well_formed) {
    warn("rbl response code configuration error: " + std::string(rest));
    return reject(450, "4.7.1", "Service unavailable");
  }
  const int code = (rest[0] - '0') * 100 + (rest[1] - '0') * 10 + (rest[2] - '0');
  rest.remove_prefix(4);
  while (!rest.empty() && is_space(rest.front())) rest.remove_prefix(1);
  const std::string_view dsn = take_dsn(rest);
  const Status status = reject(code, dsn.empty() ? "4.7.1" : dsn, rest.empty() ? "Service unavailable" : std::string(rest));
  if (status == Status::reject) verdict_.facts.emplace_back("dns_list", site.domain);
  return status;
}

}  // namespace millrace::restrict
