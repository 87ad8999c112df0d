// Keys: see settings.h.
#include "plugins/dkim/settings.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstdint>
#include <optional>

#include "plugins/dkim/tags.h"

namespace millrace::dkim {
namespace {

std::vector<std::string> split(std::string_view text) {
  std::vector<std::string> out;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find_first_of(", \t:"), text.size());
    if (end > 0) out.push_back(lower(text.substr(0, end)));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out;
}

template <typename T>
bool set_word(std::string_view text, std::initializer_list<std::pair<const char*, T>> words, T& out) {
  for (const auto& [word, value] : words) {
    if (lower(text) == word) return out = value, true;
  }
  return false;
}
bool set_bool(std::string_view text, bool& out) { return set_word(text, {{"yes", true}, {"true", true}, {"1", true}, {"no", false}, {"false", false}, {"0", false}}, out); }
bool set_number(std::string_view text, unsigned least, unsigned most, unsigned& out) {
  const auto value = parse_number(text);
  if (!value || *value < least || *value > most) return false;
  return out = static_cast<unsigned>(*value), true;
}
bool set_action(std::string_view text, Action& out) {
  return set_word(text, {{"accept", Action::accept}, {"reject", Action::reject}, {"tempfail", Action::tempfail}, {"quarantine", Action::quarantine},
                         {"hold", Action::quarantine}, {"discard", Action::discard}}, out);
}
bool set_engine(std::string_view text, bool& out) { return set_word(text, {{"opendkim", true}, {"openssl", false}}, out); }
bool set_fields(std::string_view text, std::vector<std::string>& out) {
  out = split(text);
  return std::all_of(out.begin(), out.end(), [](const std::string& name) {
    return std::all_of(name.begin(), name.end(), [](char c) { return c > ' ' && c < 127 && c != ';' && c != ':'; });
  });
}
bool set_canon(std::string_view text, SignPolicy& out) {
  const std::size_t slash = text.find('/');
  const auto one = [](std::string_view word, Canon& place) { return set_word(word, {{"simple", Canon::simple}, {"relaxed", Canon::relaxed}}, place); };
  return one(text.substr(0, slash), out.header_canon) && one(slash == text.npos ? "simple" : text.substr(slash + 1), out.body_canon);
}

// RFC 6376 section 5.4.1.
constexpr const char* kSignedFields =
    "from, reply-to, subject, date, to, cc, sender, message-id, in-reply-to, references, mime-version, content-type, "
    "content-transfer-encoding, content-id, content-description, resent-date, resent-from, resent-sender, resent-to, resent-cc, "
    "resent-message-id, list-id, list-help, list-unsubscribe, list-unsubscribe-post, list-subscribe, list-post, list-owner, list-archive";

std::optional<bool> set(VerifySettings& s, const std::string& key, const std::string& value) {
  static constexpr const char* kActions[] = {"on_none", "on_pass", "on_fail", "on_policy", "on_neutral", "on_temperror", "on_permerror"};
  for (std::size_t i = 0; i < std::size(kActions); ++i) {
    if (key == kActions[i]) return set_action(value, s.actions[i]);
  }
  if (key == "engine") return set_engine(value, s.use_opendkim);
  if (key == "max_signatures") return set_number(value, 1, 20, s.max_signatures);
  if (key == "min_key_bits") return set_number(value, 512, 8192, s.min_key_bits);
  if (key == "lookup_time") return set_number(value, 1, 300, s.lookup_seconds);
  if (key == "partial_body") return set_word(value, {{"accept", true}, {"policy", false}}, s.accept_partial);
  if (key == "rsa_sha1") return set_word(value, {{"accept", true}, {"policy", false}}, s.accept_sha1);
  if (key == "log_results") return set_bool(value, s.log_results);
  return {};
}

std::optional<bool> set(SignSettings& s, const std::string& key, const std::string& value, std::string& problem) {
  if (key == "engine") return set_engine(value, s.use_opendkim);
  if (key == "key_table") return s.key_table = value, true;
  if (key == "signing_table") return s.signing_table = value, true;
  if (key == "domain") return s.domains = split(value), std::all_of(s.domains.begin(), s.domains.end(), [](const std::string& one) { return is_domain(one); });
  if (key == "selector") return s.selector = value, is_domain(value);
  if (key == "key_file") return s.key_file = value, true;
  if (key == "multiple_signatures") return set_bool(value, s.all_matches);
  if (key == "sign_authenticated") return set_bool(value, s.sign_authenticated);
  if (key == "canonicalization") return set_canon(value, s.policy);
  if (key == "sign_headers") return set_fields(value, s.policy.headers);
  if (key == "oversign_headers") return set_fields(value, s.policy.oversigned);
  if (key == "signature_ttl") {
    unsigned seconds = 0;
    if (!set_number(value, 0, 100'000'000, seconds)) return false;
    return s.policy.lifetime = seconds, true;
  }
  if (key == "internal_hosts") {
    auto parsed = parse_networks(value);
    if (const auto* const wrong = std::get_if<std::string>(&parsed)) return problem = *wrong, false;
    return s.internal = std::move(std::get<std::vector<Network>>(parsed)), true;
  }
  return {};
}

}  // namespace

const char* const kVerifySchema = R"json({
  "engine": {"type": "string", "default": "openssl", "doc": "openssl (our own), or opendkim (libopendkim)"},
  "max_signatures": {"type": "integer", "default": "10", "doc": "signatures looked at, from the top; at most 20"},
  "min_key_bits": {"type": "integer", "default": "1024", "doc": "RSA keys with less give policy (RFC 8301)"},
  "partial_body": {"type": "string", "default": "accept", "doc": "accept or policy: signatures whose l= leaves a part of the body unsigned"},
  "rsa_sha1": {"type": "string", "default": "policy", "doc": "policy or accept: signatures with rsa-sha1, which RFC 8301 forbids to verify"},
  "lookup_time": {"type": "integer", "default": "20", "doc": "seconds for all keys of a message; then temperror"},
  "on_pass": {"type": "string", "default": "accept", "doc": "accept, reject, tempfail, quarantine (hold) or discard"},
  "on_fail": {"type": "string", "default": "accept", "doc": "the same, when no signature passes and one fails"},
  "on_none": {"type": "string", "default": "accept", "doc": "the same, for mail without signatures"},
  "on_policy": {"type": "string", "default": "accept", "doc": "the same, when a signature is good but not for us: short key, l=, rsa-sha1"},
  "on_neutral": {"type": "string", "default": "accept", "doc": "the same, for signatures that are malformed"},
  "on_permerror": {"type": "string", "default": "accept", "doc": "the same: no key, revoked, expired"},
  "on_temperror": {"type": "string", "default": "accept", "doc": "the same: no answer from DNS"},
  "log_results": {"type": "boolean", "default": "yes", "doc": "a line in the log for each signature"}})json";

const char* const kSignSchema = R"json({
  "engine": {"type": "string", "default": "openssl", "doc": "openssl (our own, keys parsed once), or opendkim (libopendkim; Ed25519 stays with openssl)"},
  "key_table": {"type": "string", "doc": "file as opendkim's KeyTable: NAME DOMAIN:SELECTOR:/PATH"},
  "signing_table": {"type": "string", "doc": "file as opendkim's SigningTable: PATTERN KEY-NAME [IDENTITY]; refile:PATH for patterns with *"},
  "domain": {"type": "string", "doc": "without tables: authors' domains that are signed for"},
  "selector": {"type": "string", "doc": "without tables"},
  "key_file": {"type": "string", "doc": "without tables: the private key"},
  "multiple_signatures": {"type": "boolean", "default": "no", "doc": "a signature for each match in the signing table"},
  "internal_hosts": {"type": "string", "default": "127.0.0.0/8, ::1", "doc": "clients whose mail is signed; ! excludes"},
  "sign_authenticated": {"type": "boolean", "default": "yes", "doc": "sign for clients that logged in"},
  "canonicalization": {"type": "string", "default": "relaxed/relaxed", "doc": "of header and body"},
  "sign_headers": {"type": "string", "doc": "fields that are signed where they are; those RFC 6376 recommends"},
  "oversign_headers": {"type": "string", "default": "from", "doc": "fields that nobody may add either"},
  "signature_ttl": {"type": "integer", "default": "0", "doc": "seconds until x=; 0: none"}})json";

std::variant<VerifySettings, std::string> parse_verify_settings(const std::map<std::string, std::string>& keys) {
  VerifySettings out;
  for (const auto& [key, value] : keys) {
    const auto done = set(out, key, value);
    if (!done) return "unknown key \"" + key + "\"";
    if (!*done) return key + ": \"" + value + "\" makes no sense";
  }
  return out;
}

std::variant<SignSettings, std::string> parse_sign_settings(const std::map<std::string, std::string>& keys) {
  SignSettings out;
  out.internal = std::get<std::vector<Network>>(parse_networks("127.0.0.0/8, ::1"));
  out.policy.headers = split(kSignedFields);
  out.policy.oversigned = {"from"};
  for (const auto& [key, value] : keys) {
    std::string problem;
    const auto done = set(out, key, value, problem);
    if (!done) return "unknown key \"" + key + "\"";
    if (!*done) return key + ": " + (problem.empty() ? "\"" + value + "\" makes no sense" : problem);
  }
  auto& headers = out.policy.headers;
  if (std::find(headers.begin(), headers.end(), "from") == headers.end()) headers.insert(headers.begin(), "from");   // section 5.4
  const bool tables = !out.key_table.empty() || !out.signing_table.empty();
  const bool single = !out.domains.empty() || !out.selector.empty() || !out.key_file.empty();
  if (tables && single) return std::string("key_table and signing_table, or domain, selector and key_file: not both");
  if (tables && (out.key_table.empty() || out.signing_table.empty())) return std::string("key_table and signing_table go together");
  if (single && (out.domains.empty() || out.selector.empty() || out.key_file.empty())) return std::string("domain, selector and key_file go together");
  return out;
}

std::string address_bytes(std::string_view text) {
  const std::string name(text);
  unsigned char bytes[16];
  if (inet_pton(AF_INET, name.c_str(), bytes) == 1) return std::string(reinterpret_cast<char*>(bytes), 4);
  if (inet_pton(AF_INET6, name.c_str(), bytes) != 1) return {};
  const std::string out(reinterpret_cast<char*>(bytes), 16);
  return out.starts_with(std::string(10, '\0') + "\xff\xff") ? out.substr(12) : out;
}

std::variant<std::vector<Network>, std::string> parse_networks(std::string_view text) {
  std::vector<Network> out;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find_first_of(", \t"), text.size());
    std::string_view word = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (word.empty()) continue;
    const std::string shown(word);
    Network one;
    if (word.front() == '!') {
      one.is_excluded = true;
      word.remove_prefix(1);
    }
    const std::size_t slash = word.find('/');
    std::string_view address = word.substr(0, slash);
    if (address.size() > 2 && address.front() == '[' && address.back() == ']') address = address.substr(1, address.size() - 2);
    one.bytes = address_bytes(address);
    const unsigned most = static_cast<unsigned>(one.bytes.size() * 8);
    one.length = most;
    if (one.bytes.empty() || (slash != word.npos && !set_number(word.substr(slash + 1), 0, most, one.length))) {
      return "\"" + shown + "\" is no address or network";
    }
    out.push_back(std::move(one));
  }
  return out;
}

bool is_in(const std::vector<Network>& networks, std::string_view address) {
  const std::string bytes = address_bytes(address);
  const Network* best = nullptr;
  for (const Network& one : networks) {
    if (one.bytes.size() != bytes.size() || bytes.empty()) continue;
    const std::size_t whole = one.length / 8, rest = one.length % 8;
    if (bytes.compare(0, whole, one.bytes, 0, whole) != 0) continue;
    if (rest != 0 && ((bytes[whole] ^ one.bytes[whole]) & (0xFF << (8 - rest)) & 0xFF) != 0) continue;
    if (best == nullptr || one.length > best->length || (one.length == best->length && one.is_excluded)) best = &one;
  }
  return best != nullptr && !best->is_excluded;
}

std::size_t decisive(const std::vector<Finding>& findings) {
  static constexpr Result kOrder[] = {Result::pass, Result::temperror, Result::fail, Result::policy, Result::permerror, Result::neutral};
  for (const Result wanted : kOrder) {
    for (std::size_t i = 0; i < findings.size(); ++i) {
      const bool ignored = findings[i].is_testing && wanted != Result::pass;
      if (findings[i].result == wanted && !ignored) return i;
    }
  }
  return SIZE_MAX;
}

void apply_policy(const VerifySettings& settings, const std::vector<Signature>& signatures, std::vector<Finding>& findings) {
  for (std::size_t i = 0; i < findings.size(); ++i) {
    Finding& one = findings[i];
    if (one.result != Result::pass) continue;
    const auto refuse = [&](std::string reason) {
      one.result = Result::policy;
      one.reason = std::move(reason);
    };
    const bool rsa = signatures[i].algorithm != Algorithm::ed25519_sha256;
    if (rsa && one.bits < settings.min_key_bits) refuse("key of " + std::to_string(one.bits) + " bits is too short");
    else if (!settings.accept_sha1 && signatures[i].algorithm == Algorithm::rsa_sha1) refuse("rsa-sha1 is historic");
    else if (one.unsigned_octets > 0 && !settings.accept_partial) refuse(std::to_string(one.unsigned_octets) + " octets of the body are not signed");
    else if (one.unsigned_octets > 0) one.reason = std::to_string(one.unsigned_octets) + " octets of the body are not signed";
  }
}

}  // namespace millrace::dkim
