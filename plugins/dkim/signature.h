// What a DKIM-Signature field and a key record say (RFC 6376 sections 3.5 and 3.6.1, RFC 8463), checked as far as that
// needs neither the message nor DNS.  Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "plugins/dkim/canonical.h"

namespace millrace::dkim {

// RFC 8601 section 2.7.1.
enum class Result { none, pass, fail, policy, neutral, temperror, permerror };
const char* result_name(Result result);

enum class Algorithm { rsa_sha1, rsa_sha256, ed25519_sha256 };
const char* algorithm_name(Algorithm algorithm);

struct Signature {
  std::size_t field = 0;          // which of the message's fields it is
  // none: nothing wrong so far.  Else what it comes to, and why; the rest is filled in as far as it could be read.
  Result problem = Result::none;
  std::string reason;
  Algorithm algorithm = Algorithm::rsa_sha256;
  Canon header_canon = Canon::simple, body_canon = Canon::simple;
  std::string domain, selector, identity;   // identity: i=, or "@" and the domain
  std::vector<std::string> headers;         // h=, lower case
  std::string body_hash, value;             // bh=, b=, decoded
  std::string b_start;                      // the first characters of b=, for header.b
  std::optional<std::uint64_t> length, expires;
  std::size_t b_begin = 0, b_end = 0;       // where the value of b= stands in the field

  std::string key_name() const { return selector + "._domainkey." + domain; }
};

constexpr std::size_t kMaxSignedHeaders = 1000;
constexpr std::uint64_t kFutureSlack = 10 * 3600;   // clocks of signers are not ours

// `field` as in canonical.h; `now` in seconds.
Signature parse_signature(std::string_view field, std::uint64_t now);
// The field with the value of b= taken out, as it is hashed.
std::string without_value(std::string_view field, const Signature& signature);

struct KeyRecord {
  std::string problem;   // "" when it is a key for `signature`
  std::string key;       // p=, decoded
  bool is_testing = false;
};
KeyRecord parse_key(std::string_view text, const Signature& signature);

// A domain name that can be asked for: ASCII, labels of 1 to 63, 253 in all.
bool is_domain(std::string_view text);

}  // namespace millrace::dkim
