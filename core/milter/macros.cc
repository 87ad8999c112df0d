// Macro values: see macros.h.
#include "core/milter/macros.h"

#include "core/base/strings.h"

namespace millrace::milter {
namespace {

using filter::Context;
using filter::SessionFacts;

std::optional<std::string> unless_empty(std::string text) {
  if (text.empty()) return {};
  return text;
}

std::string resolve_word(SessionFacts::NameStatus status) {
  switch (status) {
    case SessionFacts::NameStatus::ok: return "OK";
    case SessionFacts::NameStatus::forged: return "FORGED";
    case SessionFacts::NameStatus::temporary: return "TEMP";
    case SessionFacts::NameStatus::not_found: break;
  }
  return "FAIL";
}

std::string without_brackets(std::string_view path) {
  if (path.size() >= 2 && path.front() == '<' && path.back() == '>') path = path.substr(1, path.size() - 2);
  return std::string(path);
}

// "<b@dest.example>: Relay access denied" is a reply; the macro holds what comes after the address, and Postfix takes
// the first word for one whatever it is.
std::string without_address(std::string_view text) {
  const std::size_t end = text.starts_with('<') ? text.find(">: ") : text.npos;
  text.remove_prefix(end != text.npos ? end + 3 : std::min(text.find(' '), text.size() - 1) + 1);
  return std::string(text.substr(0, text.find('\n')));
}

// The values of one event, looked up as they are asked for.
class Values {
 public:
  Values(const MacroSettings& settings, const Context& context, MacroStage stage)
      : settings_(settings), context_(context), stage_(stage) {}

  std::optional<std::string> find(std::string_view name) {
    const SessionFacts& s = context_.session;
    if (name == "i") return unless_empty(context_.envelope.queue_id);
    if (name == "j") return settings_.host_name;
    if (name == "v") return settings_.version;
    if (name == "_") {
      std::string text = s.reverse_client_name + " [" + s.client_address + "]";
      if (!iequals(s.client_name, s.reverse_client_name)) text += " (may be forged)";
      return text;
    }
    if (name == "{daemon_name}") return settings_.daemon_name;
    if (name == "{daemon_addr}") return unless_empty(s.server_address);
    if (name == "{daemon_port}") return unless_empty(s.server_port);
    if (name.starts_with("{client_")) return client(name);
    if (name == "{auth_type}") return unless_empty(s.sasl_method);
    if (name == "{auth_authen}") return unless_empty(s.sasl_username);
    if (name == "{auth_author}") return unless_empty(s.sasl_sender);
    if (s.tls) return tls(*s.tls, name);
    return {};
  }

  // The {mail_…} and {rcpt_…} macros; nullopt for all others, and for those that have no value yet.
  std::optional<std::string> find_address(std::string_view name) {
    const bool of_sender = name.starts_with("{mail_");
    if (!of_sender && !name.starts_with("{rcpt_")) return {};
    name.remove_prefix(6);
    // With MAIL known the sender, with RCPT known the last recipient; Postfix forgets both with the content.
    if (stage_ == MacroStage::connect || stage_ == MacroStage::helo) return {};
    if (stage_ == MacroStage::unknown && context_.envelope.sender.empty()) return {};
    if (!of_sender && stage_ == MacroStage::mail) return {};
    if (!of_sender && context_.rejected && stage_ == MacroStage::rcpt) {
      if (name == "mailer}") return "error";
      if (name == "host}") return context_.rejection.enhanced;
      if (name == "addr}") return without_address(context_.rejection.text);
      return {};
    }
    std::optional<Hop>& hop = of_sender ? sender_ : rcpt_;
    if (!hop) hop = route(of_sender);
    if (!hop) return {};
    if (name == "addr}") return hop->address;
    if (name == "host}") return unless_empty(hop->host);
    if (name == "mailer}") return unless_empty(hop->mailer);
    return {};
  }

 private:
  std::optional<std::string> client(std::string_view name) const {
    const SessionFacts& s = context_.session;
    if (name == "{client_addr}") return s.client_address;
    if (name == "{client_name}") return s.client_name;
    if (name == "{client_ptr}") return s.reverse_client_name;
    if (name == "{client_port}") return s.client_port.empty() ? "0" : s.client_port;
    if (name == "{client_resolve}") return resolve_word(s.name_status);
    if (name == "{client_connections}") return std::to_string(s.client_connections);
    return {};
  }

  static std::optional<std::string> tls(const net::TlsInfo& tls, std::string_view name) {
    if (name == "{tls_version}") return tls.protocol;
    if (name == "{cipher}") return tls.cipher;
    if (name == "{cipher_bits}") return std::to_string(tls.bits);
    if (name == "{tls_sni}") return unless_empty(tls.sni);
    if (tls.peer_trusted && name == "{cert_subject}") return tls.peer_subject;
    if (tls.peer_trusted && name == "{cert_issuer}") return tls.peer_issuer;
    return {};
  }

  std::optional<Hop> route(bool of_sender) const {
    const mime::Recipient* const last = context_.envelope.recipients.empty() ? nullptr : &context_.envelope.recipients.back();
    const mime::Recipient* const rcpt = context_.rcpt != nullptr ? context_.rcpt : last;
    if (!of_sender && rcpt == nullptr) return {};
    const std::string_view address = of_sender ? context_.envelope.sender : rcpt->address;
    if (settings_.route) {
      if (auto hop = settings_.route(address, of_sender)) {
        const std::size_t at = hop->address.rfind('@');
        if (at != hop->address.npos) hop->address = hop->address.substr(0, at) + lower(hop->address.substr(at));
        return hop;
      }
    }
    const bool asked = of_sender ? stage_ == MacroStage::mail : stage_ == MacroStage::rcpt;
    return Hop{asked && !context_.typed.empty() ? without_brackets(context_.typed) : std::string(address), {}, {}};
  }

  const MacroSettings& settings_;
  const Context& context_;
  MacroStage stage_;
  std::optional<Hop> sender_, rcpt_;
};

}  // namespace

std::vector<std::string> parse_macro_names(std::string_view list) {
  std::vector<std::string> names;
  for (const std::string_view name : split(list, ", \t\r\n")) names.emplace_back(name);
  return names;
}

bool encode_macros(const MacroSettings& settings, const std::vector<std::string>& names, char command,
                   const filter::Context& context, MacroStage stage, std::string& out) {
  Values values(settings, context, stage);
  bool any = false;
  // Values first: looking one up may suspend, and `out` must not hold half a packet then.
  std::string pairs;
  for (const std::string& name : names) {
    std::optional<std::string> value = values.find(name);
    if (!value) value = values.find_address(name);
    if (!value) {
      for (const auto& [known, text] : settings.defaults) {
        if (known == name) value = text;
      }
    }
    if (!value) continue;
    any = true;
    pairs.append(name) += '\0';
    pairs.append(value->substr(0, value->find('\0'))) += '\0';
  }
  encode(event::kMacros, std::string(1, command) + pairs, out);
  return any;
}

}  // namespace millrace::milter
