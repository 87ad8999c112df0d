// Access tables: which keys are asked, and what their results do (access(5)).
#include <fmt/format.h>

#include "core/base/strings.h"
#include "core/mime/builder.h"
#include "core/restrict/run.h"
#include "core/smtp/address.h"

namespace millrace::restrict {

using filter::Action;
using filter::Stage;

namespace {

// The key that is asked after `key` for partial matches, "" when there is none: the parent domain, with
// its dot where parents do not match by themselves.
std::string_view parent_of(std::string_view key, bool parents_match) {
  const std::size_t dot = key.find('.', key.starts_with('.') ? 1 : 0);
  if (dot == std::string_view::npos) return {};
  return key.substr(parents_match ? dot + 1 : dot);
}

// The local part without its extension; itself when there is none.
std::string_view without_extension(std::string_view local, std::string_view delimiters) {
  if (delimiters.empty() || iequals(local, "double-bounce") || iequals(local, "mailer-daemon") ||
      iequals(local, "postmaster")) {
    return local;
  }
  if (delimiters.find('-') != std::string_view::npos && (istarts_with(local, "owner-") || iends_with(local, "-request"))) {
    return local;
  }
  const std::size_t at = local.find_first_of(delimiters);
  return at == std::string_view::npos || at == 0 ? local : local.substr(0, at);
}

}  // namespace

bool is_source_routed(std::string_view address) {
  return address.substr(0, address.rfind('@')).find_first_of("@%!") != std::string_view::npos;
}

// x.1.N speaks of addresses: of the sender's, of the recipient's, or of none.
std::string Run::fix_dsn(std::string_view dsn, std::string_view kind) const {
  std::string out(dsn);
  if (out.size() < 5 || out.compare(1, 3, ".1.") != 0) return out;
  const std::string detail = out.substr(4);
  constexpr std::string_view kSenderDetails[] = {"", "7", "8", "7", "7", "0", "7", "7", "8"};
  constexpr std::string_view kRecipientDetails[] = {"", "1", "2", "3", "4", "5", "6", "3", "2"};
  const bool known = detail.size() == 1 && detail[0] >= '1' && detail[0] <= '8';
  const auto index = static_cast<std::size_t>(known ? detail[0] - '0' : 0);
  // What Postfix does not know says nothing.
  if (kind == "Sender address") return out.substr(0, 4) + (known ? std::string(kSenderDetails[index]) : "0");
  if (kind == "Recipient address") return out.substr(0, 4) + (known ? std::string(kRecipientDetails[index]) : "0");
  return out.substr(0, 1) + ".0.0";
}

bool Run::probe(const Step& step, const std::string& key, const Subject& about, Ok ok, Status& status) {
  if (key.empty()) return false;
  const map::Lookup found = step.table->find(key);
  if (!found) {
    if (!step.table->name().starts_with("fail:")) warn(found.error().context);   // which has no more to say
    warn(step.table->name() + " lookup error for \"" + printable(key.substr(0, 100)) + "\"");
    status = result(step.table->name(), "451 4.3.5 Server configuration error", about, ok);
    return true;
  }
  if (!*found) return false;
  if ((*found)->empty()) {   // no result, or a mistake: nobody can tell, and a refusal is the safer reading
    warn(step.table->name() + ": key " + printable(key.substr(0, 100)) + ": empty string result is not allowed");
    status = result(step.table->name(), "451 4.3.5 Server configuration error", about, ok);
    return true;
  }
  status = result(step.table->name(), **found, about, ok);
  return true;
}

Status Run::check_domain_table(const Step& step, std::string_view domain, const Subject& about, Ok ok, bool& found) {
  datum_ = domain;
  Status status = Status::dunno;
  found = probe(step, std::string(domain), about, ok, status);
  if (found || step.table->is_pattern() || smtp::is_ip_address(domain)) return status;
  const bool parents = rules_.parent_domains_match;
  for (std::string_view key = parent_of(domain, parents); !found && !key.empty(); key = parent_of(key, parents)) {
    found = probe(step, std::string(key), about, ok, status);
  }
  return status;
}

Status Run::check_address_table(const Step& step, std::string_view address, const Subject& about, Ok ok, bool& found) {
  datum_ = address;
  Status status = Status::dunno;
  found = probe(step, std::string(address), about, ok, status);
  if (found || step.table->is_pattern()) return status;
  const char delimiter = address.find(':') != std::string_view::npos ? ':' : '.';
  std::string key(address);
  for (std::size_t at = key.rfind(delimiter); !found && at != std::string::npos && at > 0; at = key.rfind(delimiter)) {
    key.resize(at);
    while (!key.empty() && key.back() == delimiter) key.pop_back();
    found = probe(step, key, about, ok, status);
  }
  return status;
}

Status Run::check_mail_table(const Step& step, const std::string& address, std::string_view kind) {
  const Subject about = {address, kind};
  const auto route = rules_.environment.router->resolve(address, sender_.value_or(""));
  if (!route) return lookup_failure(address, route.error());
  const std::string resolved = lower(route->recipient);   // also for what a pattern's result repeats
  const std::size_t at = resolved.rfind('@');
  if (at == std::string::npos) {
    warn("no @domain in address: " + resolved);
    return Status::dunno;
  }
  const bool routed = kind == "Recipient address" && !params_.allow_untrusted_routing && is_source_routed(resolved);
  const Ok ok = routed ? Ok::suspicious : Ok::counts;
  datum_ = resolved;
  const std::string local = resolved.substr(0, at), domain = resolved.substr(at + 1);

  Status status = Status::dunno;
  const std::string quoted = rewrite::quote_local(resolved);
  if (probe(step, quoted, about, ok, status)) return status;
  if (quoted != resolved && probe(step, resolved, about, ok, status)) return status;
  if (step.table->is_pattern()) return status;
  const std::string stem(without_extension(local, params_.recipient_delimiter));
  if (stem != local && probe(step, stem + "@" + domain, about, ok, status)) return status;
  bool found = false;
  status = check_domain_table(step, domain, about, ok, found);
  if (found) return status;
  datum_ = resolved;
  if (probe(step, local + "@", about, ok, status)) return status;
  if (stem != local && probe(step, stem + "@", about, ok, status)) return status;
  return status;
}

Status Run::check_client_access(const Step& step) {
  const Subject about = {client(), "Client host"};
  bool found = false;
  const Status status = check_domain_table(step, client_name(), about, Ok::counts, found);
  return found ? status : check_address_table(step, client_address(), about, Ok::counts, found);
}

Status Run::check_reverse_client_hostname_access(const Step& step) {
  const std::string& name = context_.session.reverse_client_name;
  bool found = false;
  forbidden_ = "restriction check_reverse_client_hostname_access returns OK for " + name;
  return check_domain_table(step, name, {name, "Unverified Client host"}, Ok::forbidden, found);
}

Status Run::check_helo_access(const Step& step) {
  bool found = false;
  return helo_.empty() ? Status::dunno : check_domain_table(step, helo_, {helo_, "Helo command"}, Ok::counts, found);
}

Status Run::check_sender_access(const Step& step) {
  if (!sender_) return Status::dunno;
  if (!sender_->empty()) return check_mail_table(step, *sender_, "Sender address");
  Status status = Status::dunno;
  datum_ = params_.smtpd_null_access_lookup_key;
  probe(step, params_.smtpd_null_access_lookup_key, {"", "Sender address"}, Ok::counts, status);
  return status;
}

Status Run::check_recipient_access(const Step& step) {
  return recipient_ ? check_mail_table(step, *recipient_, "Recipient address") : Status::dunno;
}

Status Run::check_etrn_access(const Step& step) {
  if (stage_ != Stage::etrn) return Status::dunno;
  bool found = false;
  return check_domain_table(step, context_.typed, {std::string(context_.typed), "Etrn command"}, Ok::counts, found);
}

Status Run::check_list_default(const Step& step) {
  if (bare_ == nullptr) return config_error("access table " + step.text + " without a word in a list that has no default");
  return (this->*bare_->handler)(step);
}

bool Run::in_transaction(const std::string& source, std::string_view action) {
  const bool reaches_queue = action != "PREPEND";
  if (reaches_queue && !params_.smtpd_proxy_filter.empty()) {   // the message does not go to our queue
    warn(fmt::format("access table {}: with smtpd_proxy_filter specified, action {} is unavailable", source, action));
    return false;
  }
  if (reaches_queue && stage_ == Stage::etrn) {
    warn(fmt::format("access table {}: action {} is unavailable in smtpd_etrn_restrictions", source, action));
    return false;
  }
  if (sender_) return true;
  warn(fmt::format("access table {}: with smtpd_delay_reject=no, action {} is always skipped in Client host or Helo command "
                   "restrictions", source, action));
  return false;
}

Status Run::result(const std::string& source, std::string_view value, const Subject& about, Ok ok) {
  const AccessResult access = parse_access_result(value);
  const std::string text = printable(access.text);
  const auto text_or = [&](std::string_view fallback) { return text.empty() ? std::string(fallback) : text; };
  const auto dsn_or = [&](std::string_view fallback) {
    return fix_dsn(access.dsn.empty() ? fallback : access.dsn, about.kind);
  };
  const auto rejected = [&](std::string_view fallback) {
    return "<" + about.name + ">: " + std::string(about.kind) + " rejected: " + text_or(fallback);
  };
  const auto triggers = [&](const std::string& what) {
    return "<" + about.name + ">: " + std::string(about.kind) + " " + what;
  };
  const auto entry_problem = [&](std::string_view problem) {
    warn(fmt::format("access table {} entry \"{}\" {}", source, printable(datum_), problem));
    return Status::dunno;
  };
  const int reject_code = static_cast<int>(params_.access_map_reject_code);
  const int defer_code = static_cast<int>(params_.access_map_defer_code);
  switch (access.kind) {
    case AccessKind::ok: return settle_ok(Status::ok, ok, forbidden_);
    case AccessKind::empty:
      warn("access table " + source + " entry " + datum_ + " has empty value");
      return settle_ok(Status::ok, ok, forbidden_);
    case AccessKind::dunno: return Status::dunno;
    case AccessKind::reject: return reject(reject_code, dsn_or("5.7.1"), rejected("Access denied"));
    case AccessKind::defer: return reject(defer_code, dsn_or("4.7.1"), rejected("Access denied"));
    case AccessKind::code:
      return reject(access.code, dsn_or(access.code >= 500 ? "5.7.1" : "4.7.1"), rejected("Access denied"));
    case AccessKind::defer_if_permit: return defer_if_permit(defer_code, dsn_or("4.7.1"), rejected("Service unavailable"));
    case AccessKind::defer_if_reject: return defer_if_reject(defer_code, dsn_or("4.7.1"), rejected("Service unavailable"));
    case AccessKind::info: log_whatsup("info", text); return Status::dunno;
    case AccessKind::warn: log_whatsup("warn", text); return Status::dunno;
    case AccessKind::hangup:
      log_whatsup("hangup", text);
      verdict_ = filter::Verdict::reply(421, "4.7.0", "Error: hanging up");
      verdict_.hangup = true;
      verdict_.reason_id = "access_hangup";
      verdict_.facts.emplace_back("log", "no");
      return Status::reject;
    case AccessKind::filter:
      if (!in_transaction(source, "FILTER")) return Status::dunno;
      if (text.empty()) return entry_problem("has FILTER entry without value");
      if (text.find(':') == std::string::npos) return entry_problem("requires transport:destination");
      context_.envelope.content_filter = text;
      log_whatsup("filter", triggers("triggers FILTER " + text));
      return Status::dunno;
    case AccessKind::hold:
      if (!in_transaction(source, "HOLD")) return Status::dunno;
      context_.envelope.hold = true;
      context_.envelope.hold_reason = text;
      log_whatsup("hold", triggers(text_or("triggers HOLD action")));
      return Status::dunno;
    case AccessKind::discard:
      if (!in_transaction(source, "DISCARD")) return Status::dunno;
      log_whatsup("discard", triggers(text_or("triggers DISCARD action")));
      discard_ = true;
      return Status::ok;
    case AccessKind::redirect:
      if (!in_transaction(source, "REDIRECT")) return Status::dunno;
      if (text.find('@') == std::string::npos) return entry_problem("requires user@domain target");
      context_.envelope.redirect = rewrite::unquote_local(text);
      log_whatsup("redirect", triggers("triggers REDIRECT " + text));
      return Status::dunno;
    case AccessKind::bcc:
      if (!in_transaction(source, "BCC")) return Status::dunno;
      if (text.find('@') == std::string::npos) return entry_problem("requires user@domain target");
      state_.bcc.push_back(rewrite::unquote_local(text));
      log_whatsup("bcc", triggers("triggers BCC " + text));
      return Status::dunno;
    case AccessKind::prepend:
      if (!in_transaction(source, "PREPEND")) return Status::dunno;
      if (stage_ == Stage::eom) {
        warn("access table " + source + ": action PREPEND must be used before smtpd_end_of_data_restrictions");
        return Status::dunno;
      }
      if (mime::header_name_length(access.text) == 0) return entry_problem("requires header: text");
      state_.prepend.emplace_back(access.text);
      return Status::dunno;
    case AccessKind::restrictions: return result_restrictions(source, value, about, ok);
  }
  return Status::dunno;
}

Status Run::result_restrictions(const std::string& source, std::string_view value, const Subject& about, Ok ok) {
  const std::string place = datum_ == kScriptDatum ? source + ": " : "";
  auto owned = std::make_shared<const Program>(compile_result(rules_, source, value, place));
  descent_.program = owned.get();
  descent_.owned = std::move(owned);
  descent_.subject = about;
  descent_.ok = ok;
  descent_.source = ok == Ok::forbidden ? forbidden_ : source;
  descent_.value = value;
  return Status::dunno;
}

}  // namespace millrace::restrict
