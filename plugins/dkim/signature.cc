// Signatures and key records: see signature.h.
#include "plugins/dkim/signature.h"

#include <algorithm>

#include "plugins/dkim/tags.h"

namespace millrace::dkim {
namespace {

std::vector<std::string> split_colons(std::string_view text) {
  std::vector<std::string> out;
  for (;;) {
    const std::size_t end = text.find(':');
    out.push_back(lower(trim_space(text.substr(0, end))));
    if (end == text.npos) return out;
    text.remove_prefix(end + 1);
  }
}

bool contains(const std::vector<std::string>& list, std::string_view word) { return std::find(list.begin(), list.end(), word) != list.end(); }

std::optional<Canon> parse_canon(std::string_view text) {
  if (text == "simple") return Canon::simple;
  if (text == "relaxed") return Canon::relaxed;
  return {};
}

std::string_view domain_of(std::string_view identity) { return identity.substr(identity.rfind('@') + 1); }

bool is_same_or_below(std::string_view name, std::string_view domain) {
  const std::string a = lower(name), b = lower(domain);
  return a == b || (a.size() > b.size() && a.ends_with(b) && a[a.size() - b.size() - 1] == '.');
}

// Fills `out`; the first thing that is wrong is its return.
const char* read_tags(const std::vector<Tag>& tags, std::uint64_t now, Signature& out) {
  const auto get = [&](std::string_view name) {
    const Tag* const tag = find_tag(tags, name);
    return tag == nullptr ? std::optional<std::string_view>() : tag->value;
  };
  if (const auto d = get("d")) out.domain = *d;
  if (const auto s = get("s")) out.selector = *s;
  out.identity = get("i") ? without_space(*get("i")) : "@" + out.domain;
  if (const Tag* const b = find_tag(tags, "b")) {
    out.b_begin = b->begin;
    out.b_end = b->end;
    out.b_start = without_space(b->value).substr(0, 8);
  }
  for (const char* const name : {"v", "a", "b", "bh", "d", "h", "s"}) {
    if (!get(name)) return "a tag is missing";
  }
  if (*get("v") != "1") return "unknown version";
  const std::string algorithm = lower(*get("a"));
  if (algorithm == "rsa-sha256") out.algorithm = Algorithm::rsa_sha256;
  else if (algorithm == "rsa-sha1") out.algorithm = Algorithm::rsa_sha1;
  else if (algorithm == "ed25519-sha256") out.algorithm = Algorithm::ed25519_sha256;
  else return "unknown algorithm";
  if (!is_domain(out.domain) || !is_domain(out.selector) || out.key_name().size() > 253) return "no domain name in d= or s=";
  const std::size_t at = out.identity.rfind('@');
  if (at == out.identity.npos || !is_same_or_below(domain_of(out.identity), out.domain)) return "i= is not below d=";
  if (const auto c = get("c")) {
    const std::size_t slash = c->find('/');
    const auto header = parse_canon(lower(c->substr(0, slash)));
    const auto body = slash == c->npos ? Canon::simple : parse_canon(lower(c->substr(slash + 1)));
    if (!header || !body) return "unknown canonicalization";
    out.header_canon = *header;
    out.body_canon = *body;
  }
  if (const auto q = get("q"); q && !contains(split_colons(*q), "dns/txt") && !contains(split_colons(*q), "dns")) return "unknown query method";
  out.headers = split_colons(*get("h"));
  if (out.headers.size() > kMaxSignedHeaders) return "too many names in h=";
  if (contains(out.headers, "")) return "an empty name in h=";
  if (!contains(out.headers, "from")) return "From is not signed";
  auto hash = decode_base64(*get("bh")), value = decode_base64(*get("b"));
  if (!hash || !value || hash->empty() || value->empty()) return "b= or bh= is no base64";
  out.body_hash = std::move(*hash);
  out.value = std::move(*value);
  std::optional<std::uint64_t> signed_at;
  for (const auto& [name, place] : {std::pair("l", &out.length), std::pair("x", &out.expires), std::pair("t", &signed_at)}) {
    if (const auto text = get(name)) {
      *place = parse_number(*text);
      if (!*place) return "a number in l=, t= or x= is none";
    }
  }
  if (signed_at && *signed_at > now + kFutureSlack) return "signed in the future";
  if (signed_at && out.expires && *out.expires < *signed_at) return "x= is before t=";
  return nullptr;
}

}  // namespace

const char* result_name(Result result) {
  static constexpr const char* kNames[] = {"none", "pass", "fail", "policy", "neutral", "temperror", "permerror"};
  return kNames[static_cast<std::size_t>(result)];
}

const char* algorithm_name(Algorithm algorithm) {
  static constexpr const char* kNames[] = {"rsa-sha1", "rsa-sha256", "ed25519-sha256"};
  return kNames[static_cast<std::size_t>(algorithm)];
}

bool is_domain(std::string_view text) {
  if (text.empty() || text.size() > 253) return false;
  std::size_t label = 0;
  for (const char c : text) {
    if (c == '.') {
      if (label == 0) return false;
      label = 0;
      continue;
    }
    const bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
    if (!good || ++label > 63) return false;
  }
  return label > 0;
}

Signature parse_signature(std::string_view field, std::uint64_t now) {
  Signature out;
  const std::size_t colon = field.find(':');
  const std::size_t start = colon == field.npos ? field.size() : colon + 1;
  const auto tags = parse_tags(field.substr(start));
  if (!tags) {
    out.problem = Result::neutral;
    out.reason = "the signature is no tag list";
    return out;
  }
  if (const char* const wrong = read_tags(*tags, now, out)) {
    out.problem = Result::neutral;
    out.reason = wrong;
  } else if (out.expires && *out.expires < now) {
    out.problem = Result::permerror;
    out.reason = "signature expired";
  }
  out.b_begin += start;
  out.b_end += start;
  return out;
}

std::string without_value(std::string_view field, const Signature& signature) {
  return std::string(field.substr(0, signature.b_begin)) + std::string(field.substr(signature.b_end));
}

KeyRecord parse_key(std::string_view text, const Signature& signature) {
  KeyRecord out;
  const auto tags = parse_tags(text, true);
  if (!tags) return out.problem = "the key record is no tag list", out;
  const auto get = [&](std::string_view name, std::string_view otherwise) {
    const Tag* const tag = find_tag(*tags, name);
    return tag == nullptr ? otherwise : tag->value;
  };
  if (get("v", "DKIM1") != "DKIM1") return out.problem = "unknown version of the key record", out;
  const bool ed25519 = signature.algorithm == Algorithm::ed25519_sha256;
  if (lower(get("k", "rsa")) != (ed25519 ? "ed25519" : "rsa")) return out.problem = "the key is of another type", out;
  const char* const hash = signature.algorithm == Algorithm::rsa_sha1 ? "sha1" : "sha256";
  if (find_tag(*tags, "h") != nullptr && !contains(split_colons(get("h", "")), hash)) return out.problem = "the key is not for this hash", out;
  const auto services = split_colons(get("s", "*"));
  if (!contains(services, "*") && !contains(services, "email")) return out.problem = "the key is not for mail", out;
  const Tag* const p = find_tag(*tags, "p");
  if (p == nullptr) return out.problem = "no key in the key record", out;
  if (p->value.empty()) return out.problem = "key revoked", out;
  auto key = decode_base64(p->value);
  if (!key || key->empty()) return out.problem = "the key is no base64", out;
  const auto flags = split_colons(get("t", ""));
  out.is_testing = contains(flags, "y");
  if (contains(flags, "s") && lower(domain_of(signature.identity)) != lower(signature.domain)) {
    return out.problem = "the key is not for subdomains", out;
  }
  out.key = std::move(*key);
  return out;
}

}  // namespace millrace::dkim
