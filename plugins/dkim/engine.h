// What does the work on a message: libopendkim, or our own code over OpenSSL.  An engine knows a message and the keys
// it is given; it asks nobody, keeps nothing, and may be used from several threads at once.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "plugins/dkim/crypto.h"
#include "plugins/dkim/signature.h"

namespace millrace::dkim {

struct Mail {
  std::vector<std::string_view> fields;   // whole, in order, folds as CRLF, without the final one
  std::vector<std::string> names;         // theirs, lower case
  // Gives the body in pieces (CRLF line ends); false: it cannot be read.
  std::function<bool(const std::function<void(std::string_view)>&)> body;
};
// Fields out of a header section; what has no colon is left out.
Mail split_header(std::string_view header);

// What DNS says of a selector.
struct KeyAnswer {
  enum class Status { found, none, temporary } status = Status::temporary;
  std::string text;
};
using Keys = std::map<std::string, KeyAnswer>;   // by key_name(), lower case

struct Finding {
  Result result = Result::none;
  std::string reason;
  unsigned bits = 0;              // of the key; 0: no key was looked at
  bool is_testing = false;        // the key says so
  std::uint64_t unsigned_octets = 0;   // of the canonical body, beyond l=
};

struct SignRequest {
  const Key* key = nullptr;
  std::string domain, selector, identity;   // identity may be empty
  std::uint64_t now = 0;
};

// What holds for all signatures a filter makes.
struct SignPolicy {
  Canon header_canon = Canon::relaxed, body_canon = Canon::relaxed;
  std::vector<std::string> headers, oversigned;   // lower case; see signed_headers()
  std::uint64_t lifetime = 0;                     // for x=, in seconds; 0: none
};

class Engine {
 public:
  virtual ~Engine() = default;
  // One finding for each signature, in order.  `now` is that of parse_signature.  What has a problem already is only repeated.
  virtual std::vector<Finding> verify(const Mail& mail, const std::vector<Signature>& signatures, const Keys& keys) const = 0;
  // The value of the field to be put on top, folds as LF; "" and `problem` when it cannot be made.
  virtual std::string sign(const Mail& mail, const SignRequest& request, std::string& problem) const = 0;
};
std::unique_ptr<Engine> make_openssl_engine(SignPolicy policy);
std::unique_ptr<Engine> make_opendkim_engine(SignPolicy policy);   // nullptr: the library does not start

// The signatures of a message from the top, at most `limit`; `left` is how many more there are.
std::vector<Signature> find_signatures(const Mail& mail, std::uint64_t now, std::size_t limit, std::size_t& left);

// h= for a message: each of `wanted` as often as it is there, those of `oversigned` once more.  Lower case.
std::vector<std::string> signed_headers(const Mail& mail, const std::vector<std::string>& wanted, const std::vector<std::string>& oversigned);

}  // namespace millrace::dkim
