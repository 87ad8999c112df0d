// Sender Policy Framework: check_host() of RFC 7208 as pure logic over a resolver.
//
// Promise: all 203 cases of the RFC 7208 test suite, explanations included; work is bounded whatever the records say
// (10 terms that ask DNS, 2 void ones, 10 hosts of an mx or ptr).  It waits only in Resolver::query.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "plugins/spf/address.h"

namespace millrace::spf {

enum class Result { none, neutral, pass, fail, softfail, temperror, permerror };
const char* result_name(Result result);   // "pass"

enum class RecordType { a, aaaa, mx, ptr, txt };
struct Answer {
  enum class Status { ok, nothing /* no name, or no such records */, error } status = Status::error;
  std::vector<std::string> values;   // addresses, host names without final dot, TXT bytes joined
};
class Resolver {
 public:
  virtual ~Resolver() = default;
  virtual Answer query(const std::string& name, RecordType type) = 0;
};

struct Query {
  Address client;
  std::string sender;     // MAIL FROM; empty: "postmaster@" and the HELO name
  std::string helo;
  std::string receiver = "unknown";     // the "r" macro
  std::int64_t now = 0;                 // the "t" macro, seconds since 1970
  unsigned void_limit = 2;
};

struct Outcome {
  Result result = Result::none;
  std::string domain;        // whose policy was asked
  std::string mechanism;     // that decided: "-all"; empty where none did
  std::string explanation;   // the domain's own words for a fail; printable ASCII; empty: none given
  std::string problem;       // of permerror and temperror
  std::string record;        // of the domain asked; empty: none
};

// Evaluates the MAIL FROM identity (section 2.4), or with an empty sender the HELO identity.
Outcome check(Resolver& resolver, const Query& query);

// Does the name, in at most 10 PTR records, lead back to the address?  Names that do, lower case.
std::vector<std::string> validated_names(Resolver& resolver, const Address& client);

}  // namespace millrace::spf
