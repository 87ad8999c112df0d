// The engine of our own: canonical.h for the bytes, OpenSSL for the rest.  The body is read once, whatever the number
// of signatures.
#include <algorithm>

#include "plugins/dkim/engine.h"
#include "plugins/dkim/tags.h"

namespace millrace::dkim {
namespace {

// The hash of a body under one canonicalization, up to a length.
class BodyHash {
 public:
  BodyHash(Canon canon, bool sha1, std::optional<std::uint64_t> limit) : canon_(canon), sha1_(sha1), limit_(limit), body_(canon), digest_(sha1) {}
  bool is_for(const Signature& s) const {
    return canon_ == s.body_canon && sha1_ == (s.algorithm == Algorithm::rsa_sha1) && limit_ == s.length;
  }
  void add(std::string_view bytes) {
    buffer_.clear();
    body_.add(bytes, buffer_);
    take();
  }
  void finish() {
    buffer_.clear();
    body_.finish(buffer_);
    take();
    hash_ = digest_.finish();
  }
  const std::string& hash() const { return hash_; }
  std::uint64_t beyond() const { return limit_ && octets_ > *limit_ ? octets_ - *limit_ : 0; }

 private:
  void take() {
    const std::uint64_t room = limit_ ? *limit_ - std::min(octets_, *limit_) : buffer_.size();
    digest_.add(std::string_view(buffer_).substr(0, static_cast<std::size_t>(std::min<std::uint64_t>(room, buffer_.size()))));
    octets_ += buffer_.size();
  }
  Canon canon_;
  bool sha1_;
  std::optional<std::uint64_t> limit_;
  BodyCanon body_;
  Digest digest_;
  std::string buffer_, hash_;
  std::uint64_t octets_ = 0;
};

Finding found(Result result, std::string reason) {
  Finding out;
  out.result = result;
  out.reason = std::move(reason);
  return out;
}

// The fields h= names and then, without its final CRLF, the signature's own field.
std::string header_text(const Mail& mail, const std::vector<std::string>& wanted, std::size_t own, Canon canon, std::string_view signature_field) {
  std::string out;
  for (const std::size_t i : select_fields(mail.names, wanted, own)) canonical_field(mail.fields[i], canon, out);
  canonical_field(signature_field, canon, out);
  out.resize(out.size() - 2);
  return out;
}

Finding check(const Mail& mail, const Signature& signature, const Keys& keys, const BodyHash& body) {
  const auto answer = keys.find(lower(signature.key_name()));
  if (answer == keys.end() || answer->second.status == KeyAnswer::Status::temporary) return found(Result::temperror, "no answer from DNS");
  if (answer->second.status == KeyAnswer::Status::none) return found(Result::permerror, "no key for signature");
  const KeyRecord record = parse_key(answer->second.text, signature);
  Finding out;
  out.is_testing = record.is_testing;
  const auto say = [&](Result result, std::string reason) {
    out.result = result;
    out.reason = std::move(reason);
    return out;
  };
  if (!record.problem.empty()) return say(Result::permerror, record.problem);
  const auto key = Key::from_record(record.key, signature.algorithm);
  if (!key) return say(Result::permerror, "the key cannot be used");
  out.bits = key->bits();
  if (body.hash() != signature.body_hash) return say(Result::fail, "body hash did not verify");
  const std::string text = header_text(mail, signature.headers, signature.field, signature.header_canon,
                                       without_value(mail.fields[signature.field], signature));
  if (!key->verify(text, signature.value, signature.algorithm)) return say(Result::fail, "signature did not verify");
  out.unsigned_octets = body.beyond();
  out.result = Result::pass;
  return out;
}

// "\n\t" wherever a line of a list would become too long.
std::string fold_list(const std::vector<std::string>& words, std::string_view start) {
  std::string out(start);
  std::size_t column = 8 + start.size();
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (i > 0) out += ':', ++column;
    if (column + words[i].size() > 72 && i > 0) out += "\n\t ", column = 9;
    out += words[i];
    column += words[i].size();
  }
  return out;
}

std::string with_crlf(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\n') out += '\r';
    out += c;
  }
  return out;
}

class OpensslEngine final : public Engine {
 public:
  explicit OpensslEngine(SignPolicy policy) : policy_(std::move(policy)) {}

  std::vector<Finding> verify(const Mail& mail, const std::vector<Signature>& signatures, const Keys& keys) const override {
    std::vector<BodyHash> bodies;
    std::vector<std::size_t> mine(signatures.size());
    for (std::size_t i = 0; i < signatures.size(); ++i) {
      if (signatures[i].problem != Result::none) continue;
      const auto same = std::find_if(bodies.begin(), bodies.end(), [&](const BodyHash& body) { return body.is_for(signatures[i]); });
      mine[i] = static_cast<std::size_t>(same - bodies.begin());
      if (same == bodies.end()) {
        bodies.emplace_back(signatures[i].body_canon, signatures[i].algorithm == Algorithm::rsa_sha1, signatures[i].length);
      }
    }
    bool is_read = true;
    if (!bodies.empty()) {
      is_read = mail.body([&](std::string_view piece) {
        for (BodyHash& body : bodies) body.add(piece);
      });
      for (BodyHash& body : bodies) body.finish();
    }
    std::vector<Finding> out;
    for (std::size_t i = 0; i < signatures.size(); ++i) {
      const Signature& one = signatures[i];
      if (one.problem != Result::none) out.push_back(found(one.problem, one.reason));
      else if (!is_read) out.push_back(found(Result::temperror, "the body cannot be read"));
      else out.push_back(check(mail, one, keys, bodies[mine[i]]));
    }
    return out;
  }

  std::string sign(const Mail& mail, const SignRequest& request, std::string& problem) const override {
    BodyHash body(policy_.body_canon, false, {});
    if (!mail.body([&](std::string_view piece) { body.add(piece); })) return problem = "the body cannot be read", std::string();
    body.finish();
    const auto word = [](Canon canon) { return canon == Canon::simple ? "simple" : "relaxed"; };
    std::string value = std::string("v=1; a=") + (request.key->is_ed25519() ? "ed25519-sha256" : "rsa-sha256") + "; c=" +
                        word(policy_.header_canon) + "/" + word(policy_.body_canon) + "; d=" + request.domain + ";\n\ts=" + request.selector +
                        "; t=" + std::to_string(request.now) + ";";
    if (policy_.lifetime > 0) value += " x=" + std::to_string(request.now + policy_.lifetime) + ";";
    if (!request.identity.empty()) value += "\n\ti=" + request.identity + ";";
    const std::vector<std::string> headers = signed_headers(mail, policy_.headers, policy_.oversigned);
    value += "\n\t" + fold_list(headers, "h=") + ";\n\tbh=" + encode_base64(body.hash()) + ";\n\tb=";
    const std::string field = "DKIM-Signature: " + with_crlf(value);
    const auto signature = request.key->sign(header_text(mail, headers, mail.fields.size(), policy_.header_canon, field));
    if (!signature || body.hash().empty()) return problem = "OpenSSL cannot sign with this key", std::string();
    const std::string text = encode_base64(*signature);
    for (std::size_t at = 0; at < text.size(); at += 64) value += (at == 0 ? "" : "\n\t ") + text.substr(at, 64);
    return value;
  }

 private:
  SignPolicy policy_;
};

}  // namespace

std::unique_ptr<Engine> make_openssl_engine(SignPolicy policy) { return std::make_unique<OpensslEngine>(std::move(policy)); }

}  // namespace millrace::dkim
