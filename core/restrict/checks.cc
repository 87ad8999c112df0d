// Words about the client, the HELO name, the sender and the recipient.
#include "core/base/strings.h"
#include "core/map/network.h"
#include "core/restrict/run.h"
#include "core/smtp/address.h"

namespace millrace::restrict {

using filter::SessionFacts;
using filter::Stage;
using net::DnsStatus;
using net::DnsType;

namespace {

bool in_brackets(std::string_view text) { return text.size() >= 2 && text.front() == '[' && text.back() == ']'; }

std::string_view without_final_dot(std::string_view name) {
  if (name.size() > 1 && name.back() == '.') name.remove_suffix(1);
  return name;
}

bool is_fqdn(std::string_view name, bool utf8) {
  return smtp::is_host_name(name, utf8) && name.find('.') != std::string_view::npos;
}

std::string_view domain_of(std::string_view address) {
  const std::size_t at = address.rfind('@');
  return at == std::string_view::npos ? std::string_view() : address.substr(at + 1);
}

bool is_temporary(DnsStatus status) { return status == DnsStatus::temporary || status == DnsStatus::bogus; }

}  // namespace

Status Run::permit_mynetworks(const Step&) {
  const std::string address = client_address();
  const auto matches = rules_.mynetworks.matches(address);
  if (!matches) {   // perhaps it would have been permitted
    warn(matches.error().context);
    return defer_if_reject(451, "4.3.0", "<" + address + ">: Temporary lookup failure");
  }
  return *matches ? Status::ok : Status::dunno;
}

Status Run::permit_inet_interfaces(const Step&) {
  const auto address = map::parse_address(client_address());
  return address && rules_.own_addresses.contains(*address) ? Status::ok : Status::dunno;
}

Status Run::permit_sasl_authenticated(const Step&) {
  const bool logged_in = params_.smtpd_sasl_auth_enable && !context_.session.sasl_username.empty();
  return logged_in ? Status::ok : Status::dunno;
}

Status Run::reject_unknown_client_hostname(const Step&) {
  const SessionFacts::NameStatus name = context_.session.name_status;
  if (name == SessionFacts::NameStatus::ok) return Status::dunno;
  const int code = name == SessionFacts::NameStatus::temporary ? 450 : static_cast<int>(params_.unknown_client_reject_code);
  return reject(code, "4.7.25", "Client host rejected: cannot find your hostname, [" + client_address() + "]");
}

Status Run::reject_unknown_reverse_client_hostname(const Step&) {
  const SessionFacts::NameStatus name = context_.session.reverse_name_status;
  if (name == SessionFacts::NameStatus::ok) return Status::dunno;
  const int code = name == SessionFacts::NameStatus::temporary ? 450 : static_cast<int>(params_.unknown_client_reject_code);
  return reject(code, "4.7.1", "Client host rejected: cannot find your reverse hostname, [" + client_address() + "]");
}

Status Run::reject_bad_literal(std::string_view literal, const Subject& about) {
  const std::string_view inside = in_brackets(literal) ? literal.substr(1, literal.size() - 2) : std::string_view();
  if (smtp::is_ip_address(inside)) return Status::dunno;
  return reject_about(about, static_cast<int>(params_.invalid_hostname_reject_code), "5.5.2", "invalid ip address");
}

Status Run::reject_bad_name(std::string_view name, const Subject& about) {
  name = without_final_dot(name);
  if (smtp::is_host_name(name, params_.smtputf8_enable) || smtp::is_ip_address(name)) return Status::dunno;
  return reject_about(about, static_cast<int>(params_.invalid_hostname_reject_code), "5.5.2", "Invalid name");
}

Status Run::reject_invalid_helo_hostname(const Step&) {
  if (helo_.empty()) return Status::dunno;
  const Subject about = {helo_, "Helo command"};
  return helo_.front() == '[' ? reject_bad_literal(helo_, about) : reject_bad_name(helo_, about);
}

Status Run::reject_non_fqdn_helo_hostname(const Step&) {
  if (helo_.empty()) return Status::dunno;
  const Subject about = {helo_, "Helo command"};
  if (helo_.front() == '[') return reject_bad_literal(helo_, about);
  if (is_fqdn(without_final_dot(helo_), params_.smtputf8_enable)) return Status::dunno;
  return reject_about(about, static_cast<int>(params_.non_fqdn_reject_code), "5.5.2", "need fully-qualified hostname");
}

// Names that cannot be in DNS are not asked, as in Postfix's dns_lookup().
net::DnsAnswer Run::ask(std::string_view name, DnsType type, bool* first) {
  if (smtp::is_host_name(without_final_dot(name), true) && !smtp::is_ip_address(name)) {
    return state_.answers.get(*rules_.environment.resolver, name, type, context_.deadline, first);
  }
  net::DnsAnswer none;
  none.status = DnsStatus::no_name;
  return none;
}

void Run::start(std::string_view name, DnsType type) {
  if (!smtp::is_host_name(without_final_dot(name), true) || smtp::is_ip_address(name)) return;
  state_.answers.start(*rules_.environment.resolver, name, type);
}

// All that a domain may be asked for: most have an MX, and the rest is cheap.
void Run::start_domain(std::string_view domain) {
  for (const DnsType type : {DnsType::mx, DnsType::a, DnsType::aaaa}) start(domain, type);
}

void Run::ahead_helo(const Step&) {
  if (!helo_.empty() && helo_.front() != '[') start_domain(helo_);
}

void Run::ahead_sender_domain(const Step&) {
  if (!sender_ || sender_->empty()) return;
  const auto ours = rules_.environment.router->is_auth_destination(*sender_);
  if (ours && !*ours && !in_brackets(domain_of(*sender_))) start_domain(domain_of(*sender_));
}

void Run::ahead_recipient_domain(const Step&) {
  if (!recipient_) return;
  const auto ours = rules_.environment.router->is_auth_destination(*recipient_);
  if (ours && !*ours && !in_brackets(domain_of(*recipient_))) start_domain(domain_of(*recipient_));
}

// The *_tempfail_action parameters: put off, or refuse at once.
Status Run::dns_trouble(const std::string& action, int code, std::string_view dsn, std::string text) {
  if (iequals(action, "defer")) return reject(code, dsn, std::move(text));
  return defer_if_permit(code, dsn, std::move(text));
}

Status Run::reject_unknown_helo_hostname(const Step&) {
  if (helo_.empty()) return Status::dunno;
  const Subject about = {helo_, "Helo command"};
  if (helo_.front() == '[') return reject_bad_literal(helo_, about);
  DnsStatus status = DnsStatus::no_name;
  for (const DnsType type : {DnsType::a, DnsType::aaaa, DnsType::mx}) {
    const net::DnsAnswer answer = ask(helo_, type);
    if (answer.status == DnsStatus::ok) return Status::dunno;
    // One answer that may come later outweighs all that say no.
    if (is_temporary(answer.status) || !is_temporary(status)) status = answer.status;
  }
  if (is_temporary(status)) {
    return dns_trouble(params_.unknown_helo_hostname_tempfail_action, 450, "4.7.1",
                       "<" + helo_ + ">: Helo command rejected: Host not found");
  }
  return reject_about(about, static_cast<int>(params_.unknown_hostname_reject_code), "4.7.1",
                      status == DnsStatus::invalid ? "Malformed DNS server reply" : "Host not found");
}

Status Run::reject_non_fqdn_address(const std::string& address, std::string_view kind) {
  const std::string_view domain = domain_of(address);
  if (in_brackets(domain) || is_fqdn(without_final_dot(domain), params_.smtputf8_enable)) return Status::dunno;
  return reject_about({address, kind}, static_cast<int>(params_.non_fqdn_reject_code), "5.5.2",
                      "need fully-qualified address");
}

Status Run::reject_non_fqdn_sender(const Step&) {
  return !sender_ || sender_->empty() ? Status::dunno : reject_non_fqdn_address(*sender_, "Sender address");
}

Status Run::reject_non_fqdn_recipient(const Step&) {
  return recipient_ ? reject_non_fqdn_address(*recipient_, "Recipient address") : Status::dunno;
}

Status Run::reject_unknown_domain(const std::string& address, std::string_view kind) {
  using rewrite::AddressClass;
  const auto route = rules_.environment.router->resolve(address, sender_.value_or(""));
  if (!route) return lookup_failure(address, route.error());
  const AddressClass where_to = route->address_class;
  if (where_to == AddressClass::local || where_to == AddressClass::virtual_alias ||
      where_to == AddressClass::virtual_mailbox) {
    return Status::dunno;   // ours: nobody need look for it
  }
  const std::string domain(domain_of(route->recipient));
  if (domain.empty() || in_brackets(domain)) return Status::dunno;

  const bool of_sender = kind == "Sender address";
  const Subject about = {address, kind};
  const char* const dsn = of_sender ? "4.1.8" : "4.1.2";
  const net::DnsAnswer mx = ask(domain, DnsType::mx);
  if (mx.status == DnsStatus::ok) {
    if (!is_null_mx(mx)) return Status::dunno;
    // RFC 7505 section 4.
    return reject_about(about, of_sender ? 550 : 556, of_sender ? "5.7.27" : "5.1.10",
                        "Domain " + domain + " does not accept mail (nullMX)");
  }
  DnsStatus status = mx.status;
  for (const DnsType type : {DnsType::a, DnsType::aaaa}) {
    const net::DnsAnswer answer = ask(domain, type);
    if (answer.status == DnsStatus::ok) return Status::dunno;
    if (is_temporary(answer.status) || !is_temporary(status)) status = answer.status;
  }
  if (is_temporary(status)) {
    return dns_trouble(params_.unknown_address_tempfail_action, 450, dsn,
                       "<" + address + ">: " + std::string(kind) + " rejected: Domain not found");
  }
  return reject_about(about, static_cast<int>(params_.unknown_address_reject_code), dsn,
                      status == DnsStatus::invalid ? "Malformed DNS server reply" : "Domain not found");
}

Status Run::reject_unknown_sender_domain(const Step&) {
  return !sender_ || sender_->empty() ? Status::dunno : reject_unknown_domain(*sender_, "Sender address");
}

Status Run::reject_unknown_recipient_domain(const Step&) {
  return recipient_ ? reject_unknown_domain(*recipient_, "Recipient address") : Status::dunno;
}

Status Run::reject_unlisted(const std::string& address, std::string_view kind) {
  if (rules_.any_recipient) return Status::dunno;
  int code = 550;
  using Role = rewrite::Router::Role;
  const bool of_sender = kind == "Sender address";
  const std::string other = (of_sender ? recipient_ : sender_).value_or("");
  const auto unknown = rules_.environment.router->unlisted(address, of_sender ? Role::sender : Role::recipient, other, &code);
  if (!unknown) return lookup_failure(address, unknown.error());
  if (unknown->empty()) return Status::dunno;
  static const Word kSenderWord = {"reject_unlisted_sender", Argument::none, nullptr};
  static const Word kRecipientWord = {"reject_unlisted_recipient", Argument::none, nullptr};
  word_ = of_sender ? &kSenderWord : &kRecipientWord;
  // A text of the error or retry transport may bring its own enhanced code; its class follows the reply's.
  std::string_view text = *unknown;
  std::string dsn = fix_dsn(take_dsn(text), kind);
  if (dsn.empty()) dsn = of_sender ? "5.1.0" : "5.1.1";
  dsn[0] = static_cast<char>('0' + code / 100);
  return reject_about({address, kind}, code, dsn, text);
}

Status Run::reject_unlisted_sender(const Step&) {
  if (!sender_ || sender_->empty()) return Status::dunno;
  sender_checked_ = true;
  return reject_unlisted(*sender_, "Sender address");
}

Status Run::reject_unlisted_recipient(const Step&) {
  if (!recipient_ || recipient_->empty()) return Status::dunno;
  recipient_checked_ = true;
  return reject_unlisted(*recipient_, "Recipient address");
}

Status Run::permit_auth_destination(const Step&) {
  if (!recipient_) return Status::dunno;
  const auto ours = rules_.environment.router->is_auth_destination(*recipient_);
  if (!ours) return lookup_failure(*recipient_, ours.error());
  return *ours ? Status::ok : Status::dunno;
}

Status Run::reject_unauth_destination(const Step&) {
  if (!recipient_) return Status::dunno;
  const auto ours = rules_.environment.router->is_auth_destination(*recipient_);
  if (!ours) return lookup_failure(*recipient_, ours.error());
  if (*ours) return Status::dunno;
  return reject(static_cast<int>(params_.relay_domains_reject_code), "5.7.1", "<" + *recipient_ + ">: Relay access denied");
}

// Gone from later versions: clients in relay_domains may relay.
Status Run::check_relay_domains(const Step&) {
  warn_of_old_word("check_relay_domains", "reject_unauth_destination");
  if (!recipient_) return Status::dunno;
  const auto client = rules_.relay_domains.matches(client_name());
  if (!client) return lookup_failure(client_name(), client.error());
  if (*client) return Status::ok;
  const auto ours = rules_.environment.router->is_auth_destination(*recipient_);
  if (!ours) return lookup_failure(*recipient_, ours.error());
  if (*ours) return Status::ok;
  return reject_about({*recipient_, "Recipient address"}, static_cast<int>(params_.relay_domains_reject_code), "5.7.1",
                      "Relay access denied");
}

Status Run::permit_naked_ip_address(const Step&) {
  warn("restriction permit_naked_ip_address is deprecated. Use permit_mynetworks or permit_sasl_authenticated instead");
  if (helo_.empty() || helo_.find_first_not_of("0123456789.:") != std::string::npos) return Status::dunno;
  if (smtp::is_ip_address(helo_)) return Status::ok;
  return reject_about({helo_, "Helo command"}, static_cast<int>(params_.invalid_hostname_reject_code), "5.5.2",
                      "invalid ip address");
}

Status Run::defer_unauth_destination(const Step&) {
  if (!recipient_) return Status::dunno;
  const auto ours = rules_.environment.router->is_auth_destination(*recipient_);
  if (!ours) return lookup_failure(*recipient_, ours.error());
  if (*ours) return Status::dunno;
  return reject(static_cast<int>(params_.relay_domains_reject_code) - 100, "4.7.1",
                "<" + *recipient_ + ">: Relay access denied");
}

}  // namespace millrace::restrict
