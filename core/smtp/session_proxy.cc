// XCLIENT and XFORWARD: what a trusted proxy or filter tells of the client behind it (Postfix's
// XCLIENT_README and XFORWARD_README).  XCLIENT makes the session that of the other client, from the
// greeting on; XFORWARD is for the log alone.
#include <fmt/format.h>

#include "core/base/strings.h"
#include "core/smtp/address.h"
#include "core/smtp/session.h"

namespace millrace::smtp {
namespace {

constexpr std::string_view kUnavailable = "[UNAVAILABLE]", kTemporary = "[TEMPUNAVAIL]";
constexpr std::size_t kMaxValue = 255;

struct Attribute {
  std::string name, value;   // upper case; decoded
};

Reply bad_syntax(const Attribute& attribute) {
  return Reply(501, "5.5.4", fmt::format("Bad {} syntax: {}", attribute.name, attribute.value));
}

// The attributes of the command, or the reply that says what is wrong with one.
std::optional<Reply> parse(const std::vector<Word>& words, std::vector<Attribute>& out) {
  for (std::size_t i = 1; i < words.size(); ++i) {
    const std::string_view word = words[i].text;
    const std::size_t equals = word.find('=');
    if (equals == word.npos || equals == 0 || equals + 1 == word.size()) {
      return Reply(501, "5.5.4", "Error: attribute=value expected");
    }
    if (word.size() - equals - 1 > kMaxValue) return Reply(501, "5.5.4", "Error: attribute value too long");
    const std::optional<std::string> value = decode_xtext(word.substr(equals + 1));
    if (!value) {
      return Reply(501, "5.5.4", fmt::format("Bad attribute value syntax: {}", word.substr(equals + 1)));
    }
    out.push_back({upper(word.substr(0, equals)), printable(*value)});
  }
  return {};
}

bool is_unavailable(const Attribute& attribute) { return iequals(attribute.value, kUnavailable); }

bool is_port(std::string_view text) { return text.size() <= 5 && parse_number<std::uint32_t>(text).value_or(65536) < 65536; }

// The address without the prefix that IPv6 must have; nullopt when it is none, or of a family not in use.
std::optional<std::string> address_value(std::string_view text, std::string_view inet_protocols) {
  if (istarts_with(text, "IPV6:")) {
    const bool used = inet_protocols.find("all") != inet_protocols.npos || inet_protocols.find("ipv6") != inet_protocols.npos;
    text.remove_prefix(5);
    if (!used || text.find(':') == text.npos || !is_ip_address(text)) return {};
    return std::string(text);
  }
  if (text.find(':') != text.npos || !is_ip_address(text)) return {};
  return std::string(text);
}

std::string neutered(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (std::string_view("<>()\\\";@").find(c) != std::string_view::npos) c = '?';
  }
  return out;
}

// Spaces would look like fields of the log line.
std::string without_spaces(std::string text) {
  for (char& c : text) {
    if (is_space(c)) c = '?';
  }
  return text;
}

}  // namespace

Reply Session::xclient(const Input& input) {
  using NameStatus = filter::SessionFacts::NameStatus;
  if (transaction_ && transaction_->begun) return Reply(503, "5.5.1", "Error: MAIL transaction in progress");
  if (input.words.size() < 2) return Reply(501, "5.5.4", "Syntax: XCLIENT attribute=value...");
  if (!may_xclient_) return Reply(550, "5.7.0", "Error: insufficient authorization");
  std::vector<Attribute> attributes;
  if (const std::optional<Reply> wrong = parse(input.words, attributes)) return *wrong;
  // On a copy: all or nothing.
  filter::SessionFacts facts = facts_;
  facts.helo_name.clear();
  facts.protocol = "SMTP";
  facts.sasl_method.clear();
  facts.sasl_username.clear();
  facts.sasl_sender.clear();
  for (const Attribute& attribute : attributes) {
    const bool missing = is_unavailable(attribute);
    if (attribute.name == "NAME" || attribute.name == "REVERSE_NAME") {
      const bool temporary = iequals(attribute.value, kTemporary);
      if (!missing && !temporary && !is_host_name(attribute.value)) return bad_syntax(attribute);
      const NameStatus status = missing ? NameStatus::not_found : temporary ? NameStatus::temporary : NameStatus::ok;
      const std::string name = status == NameStatus::ok ? attribute.value : "unknown";
      if (attribute.name == "NAME") {
        facts.client_name = name;
        facts.name_status = status;
      }
      if (attribute.name == "REVERSE_NAME" || status == NameStatus::ok) {
        facts.reverse_client_name = name;
        facts.reverse_name_status = status;
      }
    } else if (attribute.name == "ADDR" || attribute.name == "DESTADDR") {
      const std::optional<std::string> address =
          missing ? std::string("unknown") : address_value(attribute.value, params_.inet_protocols);
      if (!address) return bad_syntax(attribute);
      (attribute.name == "ADDR" ? facts.client_address : facts.server_address) = *address;
    } else if (attribute.name == "PORT" || attribute.name == "DESTPORT") {
      if (!missing && !is_port(attribute.value)) return bad_syntax(attribute);
      (attribute.name == "PORT" ? facts.client_port : facts.server_port) = missing ? "unknown" : attribute.value;
    } else if (attribute.name == "HELO") {
      if (!missing) facts.helo_name = without_spaces(neutered(attribute.value));
    } else if (attribute.name == "PROTO") {
      if (!iequals(attribute.value, "SMTP") && !iequals(attribute.value, "ESMTP")) return bad_syntax(attribute);
      facts.protocol = upper(attribute.value);
    } else if (attribute.name == "LOGIN") {
      if (!missing) {
        facts.sasl_method = "XCLIENT";
        facts.sasl_username = attribute.value;
      }
    } else {
      return Reply(501, "5.5.4", "Bad XCLIENT attribute name: " + attribute.name);
    }
  }
  // A full restart: the filters of the old client go with what they know.
  end_transaction();
  forwarded_.reset();
  chain_.reset();
  chunks_failed_ = false;
  facts_ = std::move(facts);
  set_client(facts_.client_name, facts_.client_address, facts_.client_port);
  // Who came as somebody else has that one's rights from now on, and no more than its own.
  may_xclient_ = service_.xclient_hosts.matches_host(facts_.client_name, shown_address()).value_or(false);
  return Reply(0, "", "", Reply::Then::restart);
}

Reply Session::xforward(const Input& input) {
  if (transaction_ && transaction_->begun) return Reply(503, "5.5.1", "Error: MAIL transaction in progress");
  if (input.words.size() < 2) return Reply(501, "5.5.4", "Syntax: XFORWARD attribute=value...");
  if (!may_xforward_) return Reply(550, "5.7.0", "Error: insufficient authorization");
  std::vector<Attribute> attributes;
  if (const std::optional<Reply> wrong = parse(input.words, attributes)) return *wrong;
  Forwarded forwarded = forwarded_ ? *forwarded_ : Forwarded();
  for (const Attribute& attribute : attributes) {
    const bool missing = is_unavailable(attribute);
    const std::string unknown = "unknown";
    if (attribute.name != "IDENT" && attribute.name != "SOURCE" && !std::exchange(forwarded.client, true)) {
      forwarded.name = forwarded.address = forwarded.port = forwarded.protocol = unknown;
    }
    if (attribute.name == "NAME") {
      if (!missing && !is_host_name(attribute.value)) return bad_syntax(attribute);
      forwarded.name = missing ? unknown : attribute.value;
    } else if (attribute.name == "ADDR") {
      const std::optional<std::string> address = missing ? unknown : address_value(attribute.value, params_.inet_protocols);
      if (!address) return bad_syntax(attribute);
      forwarded.address = *address;
    } else if (attribute.name == "PORT") {
      if (!missing && !is_port(attribute.value)) return bad_syntax(attribute);
      forwarded.port = missing ? unknown : attribute.value;
    } else if (attribute.name == "HELO") {
      forwarded.helo = missing ? "" : without_spaces(neutered(attribute.value));
    } else if (attribute.name == "PROTO") {
      if (!missing && attribute.value.size() > 64) return bad_syntax(attribute);
      forwarded.protocol = missing ? unknown : neutered(attribute.value);
    } else if (attribute.name == "IDENT") {
      forwarded.ident = missing ? "" : without_spaces(neutered(attribute.value));
    } else if (attribute.name == "SOURCE") {
      if (!missing && !iequals(attribute.value, "LOCAL") && !iequals(attribute.value, "REMOTE")) return bad_syntax(attribute);
      forwarded.source = missing ? "" : upper(attribute.value);
    } else {
      return Reply(501, "5.5.4", "Bad XFORWARD attribute name: " + attribute.name);
    }
  }
  forwarded.given = true;
  forwarded_ = std::make_unique<Forwarded>(std::move(forwarded));
  return Reply(250, "2.0.0", "Ok");
}

}  // namespace millrace::smtp
