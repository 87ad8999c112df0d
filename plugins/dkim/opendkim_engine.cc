// libopendkim as an engine.  One handle of the library for each signature: it carries l= of one over to the next (a
// variable outside its loop), and takes a key already seen without looking at the record again.
#include <openssl/err.h>
#include <sys/types.h>

#include <algorithm>
#include <cstring>

#include "plugins/dkim/engine.h"
#include "plugins/dkim/tags.h"

#define _Bool bool   // the header is C
#include <opendkim/dkim.h>
#undef _Bool

namespace millrace::dkim {
namespace {

unsigned char* text_of(const char* text) { return reinterpret_cast<unsigned char*>(const_cast<char*>(text)); }
unsigned char* text_of(std::string_view text) { return text_of(text.data()); }

struct Outcome {
  Result result;
  const char* reason;
};

// What a signature comes to by the library's error of it.
Outcome outcome_of(int error) {
  switch (error) {
    case DKIM_SIGERROR_OK: return {Result::pass, ""};
    case DKIM_SIGERROR_BADSIG: return {Result::fail, "signature did not verify"};
    case DKIM_SIGERROR_KEYFAIL: return {Result::temperror, "no answer from DNS"};
    case DKIM_SIGERROR_NOKEY: return {Result::permerror, "no key for signature"};
    case DKIM_SIGERROR_KEYREVOKED: return {Result::permerror, "key revoked"};
    case DKIM_SIGERROR_TOOLARGE_L: return {Result::permerror, "l= is more than the body has"};
    case DKIM_SIGERROR_EXPIRED: return {Result::permerror, "signature expired"};
    case DKIM_SIGERROR_UNKNOWN: return {Result::neutral, "not processed"};
    default: break;
  }
  const char* const words = dkim_sig_geterrorstr(error);
  const bool of_key = error == DKIM_SIGERROR_DNSSYNTAX || (error >= DKIM_SIGERROR_KEYVERSION && error <= DKIM_SIGERROR_KEYDECODE) ||
                      error == DKIM_SIGERROR_SUBDOMAIN || error == DKIM_SIGERROR_KEYTOOSMALL;
  return {of_key ? Result::permerror : Result::neutral, words == nullptr ? "unknown" : words};
}

struct Handle {
  explicit Handle(DKIM* given) : dkim(given) {}
  ~Handle() {
    if (dkim != nullptr) dkim_free(dkim);
    ERR_clear_error();
  }
  Handle(const Handle&) = delete;
  DKIM* dkim;
};

DKIM_CBSTAT give_key(DKIM* dkim, DKIM_SIGINFO*, u_char* buffer, size_t size) {
  const auto* const record = static_cast<const std::string*>(dkim_get_user_context(dkim));
  if (record == nullptr || record->size() >= size) return DKIM_CBSTAT_NOTFOUND;
  std::memcpy(buffer, record->data(), record->size());
  buffer[record->size()] = '\0';
  return DKIM_CBSTAT_CONTINUE;
}

// The library takes whole lines only: the last one gets its end here, as both canonicalizations would give it.
bool feed_body(DKIM* dkim, const Mail& mail) {
  bool good = true;
  char last = '\n';
  const auto feed = [&](std::string_view piece) {
    good = good && dkim_body(dkim, text_of(piece), piece.size()) == DKIM_STAT_OK;
    if (!piece.empty()) last = piece.back();
  };
  const bool is_read = mail.body(feed);
  if (last != '\n') feed("\r\n");
  return good && is_read;
}

Finding say(Result result, std::string reason) {
  Finding out;
  out.result = result;
  out.reason = std::move(reason);
  return out;
}

class OpendkimEngine final : public Engine {
 public:
  OpendkimEngine(DKIM_LIB* library, SignPolicy policy) : library_(library), policy_(std::move(policy)), ours_(make_openssl_engine(policy_)) {}
  ~OpendkimEngine() override { dkim_close(library_); }

  bool set_up() {
    std::uint64_t slack = kFutureSlack, lifetime = policy_.lifetime;
    for (const std::string& name : policy_.headers) signed_names_.push_back(name.c_str());
    for (const std::string& name : policy_.oversigned) {
      if (std::find(policy_.headers.begin(), policy_.headers.end(), name) == policy_.headers.end()) signed_names_.push_back(name.c_str());
      oversigned_names_.push_back(name.c_str());
    }
    signed_names_.push_back(nullptr);
    oversigned_names_.push_back(nullptr);
    return dkim_set_key_lookup(library_, give_key) == DKIM_STAT_OK &&
           dkim_options(library_, DKIM_OP_SETOPT, DKIM_OPTS_CLOCKDRIFT, &slack, sizeof slack) == DKIM_STAT_OK &&
           dkim_options(library_, DKIM_OP_SETOPT, DKIM_OPTS_SIGNATURETTL, &lifetime, sizeof lifetime) == DKIM_STAT_OK &&
           dkim_options(library_, DKIM_OP_SETOPT, DKIM_OPTS_OVERSIGNHDRS, oversigned_names_.data(), sizeof(const char**)) == DKIM_STAT_OK;
  }

  std::vector<Finding> verify(const Mail& mail, const std::vector<Signature>& signatures, const Keys& keys) const override {
    std::vector<Finding> out;
    for (const Signature& one : signatures) {
      out.push_back(one.problem != Result::none ? say(one.problem, one.reason) : verify_one(mail, one, keys));
    }
    return out;
  }

  std::string sign(const Mail& mail, const SignRequest& request, std::string& problem) const override {
    if (request.key->is_ed25519()) return ours_->sign(mail, request, problem);   // the library loses 542 octets each time
    std::string pem = request.key->pem();
    DKIM_STAT status = DKIM_STAT_OK;
    const auto canon = [](Canon one) { return one == Canon::simple ? DKIM_CANON_SIMPLE : DKIM_CANON_RELAXED; };
    const Handle handle(dkim_sign(library_, text_of("sign"), nullptr, text_of(pem), text_of(request.selector), text_of(request.domain),
                                  canon(policy_.header_canon), canon(policy_.body_canon), DKIM_SIGN_RSASHA256, -1, &status));
    ::explicit_bzero(pem.data(), pem.size());   // it has a copy
    if (handle.dkim == nullptr) return problem = "libopendkim does not take this key", std::string();
    if (dkim_signhdrs(handle.dkim, const_cast<const char**>(signed_names_.data())) != DKIM_STAT_OK ||
        (!request.identity.empty() && dkim_set_signer(handle.dkim, text_of(request.identity)) != DKIM_STAT_OK)) {
      return problem = "libopendkim does not take these fields or this identity", std::string();
    }
    for (const std::string_view field : mail.fields) {
      if (dkim_header(handle.dkim, text_of(field), field.size()) != DKIM_STAT_OK) return problem = "a header field is malformed", std::string();
    }
    if (dkim_eoh(handle.dkim) != DKIM_STAT_OK) return problem = "the header is malformed", std::string();
    if (!feed_body(handle.dkim, mail)) return problem = "the body cannot be read", std::string();
    u_char* value = nullptr;
    size_t size = 0;
    if (dkim_eom(handle.dkim, nullptr) != DKIM_STAT_OK || dkim_getsighdr_d(handle.dkim, sizeof "DKIM-Signature:", &value, &size) != DKIM_STAT_OK) {
      return problem = "libopendkim cannot sign with this key", std::string();
    }
    std::string out;
    for (const char c : std::string_view(reinterpret_cast<char*>(value), size)) {
      if (c != '\r') out += c;
    }
    return out;
  }

 private:
  Finding verify_one(const Mail& mail, const Signature& signature, const Keys& keys) const {
    const auto answer = keys.find(lower(signature.key_name()));
    if (answer == keys.end() || answer->second.status == KeyAnswer::Status::temporary) return say(Result::temperror, "no answer from DNS");
    if (answer->second.status == KeyAnswer::Status::none) return say(Result::permerror, "no key for signature");
    // The flags, and what the library does not tell: read by us, judged by it.
    const KeyRecord record = parse_key(answer->second.text, signature);
    if (record.problem == "key revoked") return say(Result::permerror, record.problem);
    DKIM_STAT status = DKIM_STAT_OK;
    const Handle handle(dkim_verify(library_, text_of("verify"), nullptr, &status));
    if (handle.dkim == nullptr) return say(Result::temperror, "libopendkim has no room");
    (void)dkim_set_user_context(handle.dkim, const_cast<std::string*>(&answer->second.text));
    const bool covers_others = std::find(signature.headers.begin(), signature.headers.end(), "dkim-signature") != signature.headers.end();
    if (covers_others) return ours_->verify(mail, {signature}, keys)[0];   // it would judge all of them
    for (std::size_t i = 0; i < mail.fields.size(); ++i) {
      if (mail.names[i] == "dkim-signature" && i != signature.field) continue;
      if (dkim_header(handle.dkim, text_of(mail.fields[i]), mail.fields[i].size()) != DKIM_STAT_OK) return say(Result::permerror, "a header field is malformed");
    }
    if (const DKIM_STAT headers = dkim_eoh(handle.dkim); headers != DKIM_STAT_OK && headers != DKIM_STAT_CANTVRFY) {
      return say(Result::permerror, "the header is malformed");
    }
    if (!feed_body(handle.dkim, mail)) return say(Result::temperror, "the body cannot be read");
    (void)dkim_eom(handle.dkim, nullptr);
    DKIM_SIGINFO** list = nullptr;
    int count = 0;
    if (dkim_getsiglist(handle.dkim, &list, &count) != DKIM_STAT_OK || count != 1) return say(Result::neutral, "not processed");
    const unsigned flags = dkim_sig_getflags(list[0]);
    const int error = dkim_sig_geterror(list[0]);
    const bool passed = (flags & DKIM_SIGFLAG_PASSED) != 0 && dkim_sig_getbh(list[0]) == DKIM_SIGBH_MATCH;
    Outcome outcome = outcome_of(error);
    if (outcome.result == Result::pass && !passed) outcome = {Result::fail, "signature did not verify"};
    if (dkim_sig_getbh(list[0]) == DKIM_SIGBH_MISMATCH && outcome.result == Result::fail) outcome.reason = "body hash did not verify";
    Finding out = say(outcome.result, outcome.reason);
    (void)dkim_sig_getkeysize(list[0], &out.bits);
    out.is_testing = (flags & DKIM_SIGFLAG_TESTKEY) != 0;
    ssize_t all = 0, canonical = 0, covered = 0;
    if (signature.length && dkim_sig_getcanonlen(handle.dkim, list[0], &all, &canonical, &covered) == DKIM_STAT_OK && canonical > covered) {
      out.unsigned_octets = static_cast<std::uint64_t>(canonical - covered);
    }
    return out;
  }

  DKIM_LIB* library_;
  SignPolicy policy_;
  std::unique_ptr<Engine> ours_;
  std::vector<const char*> signed_names_, oversigned_names_;   // nullptr at the end
};

}  // namespace

std::unique_ptr<Engine> make_opendkim_engine(SignPolicy policy) {
  DKIM_LIB* const library = dkim_init(nullptr, nullptr);
  if (library == nullptr) return nullptr;
  auto out = std::make_unique<OpendkimEngine>(library, std::move(policy));
  if (!out->set_up()) return nullptr;
  return out;
}

}  // namespace millrace::dkim
