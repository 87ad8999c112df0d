// Both engines over the example of RFC 8463 appendix A, and over what they sign themselves.
#include <catch2/catch.hpp>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include <algorithm>
#include <ctime>

#include "plugins/dkim/engine.h"
#include "plugins/dkim/tags.h"

using namespace millrace::dkim;

namespace {

const std::string kHeader =
    "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n"
    " d=football.example.com; i=@football.example.com;\r\n"
    " q=dns/txt; s=brisbane; t=1528637909; h=from : to :\r\n"
    " subject : date : message-id : from : subject : date;\r\n"
    " bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n"
    " b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus\r\n"
    " Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==\r\n"
    "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;\r\n"
    " d=football.example.com; i=@football.example.com;\r\n"
    " q=dns/txt; s=test; t=1528637909; h=from : to : subject :\r\n"
    " date : message-id : from : subject : date;\r\n"
    " bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n"
    " b=F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3\r\n"
    " DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz\r\n"
    " dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=\r\n"
    "From: Joe SixPack <joe@football.example.com>\r\n"
    "To: Suzie Q <suzie@shopping.example.net>\r\n"
    "Subject: Is dinner ready?\r\n"
    "Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\n"
    "Message-ID: <20030712040037.46341.5F8J@football.example.com>\r\n";
const std::string kBody = "Hi.\r\n\r\nWe lost the game.  Are you hungry yet?\r\n\r\nJoe.\r\n\r\n";
const Keys kKeys = {
    {"brisbane._domainkey.football.example.com", {KeyAnswer::Status::found, "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="}},
    {"test._domainkey.football.example.com",
     {KeyAnswer::Status::found,
      "v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutAC"
      "DfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB"}}};

Mail mail_of(const std::string& header, const std::string& body) {
  Mail out = split_header(header);
  out.body = [&body](const std::function<void(std::string_view)>& each) {
    for (std::size_t at = 0; at < body.size(); at += 7) each(std::string_view(body).substr(at, 7));
    return true;
  };
  return out;
}

std::string verify(const Engine& engine, const std::string& header, const std::string& body, const Keys& keys) {
  const Mail mail = mail_of(header, body);
  std::size_t left = 0;
  const auto signatures = find_signatures(mail, 1'700'000'000, 10, left);
  std::string out;
  for (const Finding& one : engine.verify(mail, signatures, keys)) out += std::string(result_name(one.result)) + " ";
  return out;
}

std::string fresh_key() {
  EVP_PKEY* const key = EVP_RSA_gen(1024);
  BIO* const out = BIO_new(BIO_s_mem());
  PEM_write_bio_PrivateKey(out, key, nullptr, nullptr, 0, nullptr, nullptr);
  char* text = nullptr;
  const long size = BIO_get_mem_data(out, &text);
  std::string pem(text, static_cast<std::size_t>(size));
  BIO_free(out);
  EVP_PKEY_free(key);
  return pem;
}

std::unique_ptr<Engine> make(bool opendkim, SignPolicy policy = {}) { return opendkim ? make_opendkim_engine(policy) : make_openssl_engine(policy); }

}  // namespace

TEST_CASE("dkim engine: the example of RFC 8463", "[dkim]") {
  const auto engine = make(GENERATE(false, true));
  REQUIRE(engine);
  CHECK(verify(*engine, kHeader, kBody, kKeys) == "pass pass ");
  CHECK(verify(*engine, kHeader, kBody + "\r\n", kKeys) == "pass pass ");
  CHECK(verify(*engine, kHeader, kBody + "more\r\n", kKeys) == "fail fail ");
  CHECK(verify(*engine, kHeader + "Subject: another\r\n", kBody, kKeys) == "fail fail ");   // oversigned
  CHECK(verify(*engine, kHeader + "X-Other: field\r\n", kBody, kKeys) == "pass pass ");
  Keys some = kKeys;
  some["test._domainkey.football.example.com"].status = KeyAnswer::Status::none;
  some["brisbane._domainkey.football.example.com"].status = KeyAnswer::Status::temporary;
  CHECK(verify(*engine, kHeader, kBody, some) == "temperror permerror ");
  some["test._domainkey.football.example.com"] = {KeyAnswer::Status::found, "v=DKIM1; p="};
  some["brisbane._domainkey.football.example.com"] = {KeyAnswer::Status::found, "nonsense"};
  CHECK(verify(*engine, kHeader, kBody, some) == "permerror permerror ");
  CHECK(verify(*engine, "From: a@b.example\r\n", kBody, kKeys).empty());
}

TEST_CASE("dkim engine: what one signs both verify", "[dkim]") {
  static const std::string pem = fresh_key();
  const bool by_opendkim = GENERATE(false, true), ed25519 = GENERATE(false, true);
  SignPolicy policy;
  policy.header_canon = GENERATE(Canon::simple, Canon::relaxed);
  policy.body_canon = GENERATE(Canon::simple, Canon::relaxed);
  policy.headers = {"from", "to", "subject"};
  policy.oversigned = {"from", "reply-to"};
  policy.lifetime = 1000;
  const auto engine = make(by_opendkim, policy);
  std::string problem;
  const auto key = Key::from_private(ed25519 ? "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=" : pem, problem);
  REQUIRE(key);
  const std::string header = "From: A <a@example.com>\r\nTo:b@example.org,\r\n\tc@example.org \r\nSubject: one  two\r\nTo: again@example.org\r\n";
  const std::string body = GENERATE(as<std::string>(), "", "text  \r\n\r\n", "\r\n\r\n", " \r\nx\t y\r\n");
  const auto now = static_cast<std::uint64_t>(std::time(nullptr));
  const std::string value = engine->sign(mail_of(header, body), {&*key, "example.com", "sel", "", now}, problem);
  CAPTURE(by_opendkim, ed25519, body, value, problem);
  REQUIRE_FALSE(value.empty());
  std::string field = "DKIM-Signature: ";
  for (const char c : value) c == '\n' ? field += "\r\n" : field += c;
  const Keys keys = {{"sel._domainkey.example.com", {KeyAnswer::Status::found, key->record()}}};
  const Signature made = parse_signature(field, now);
  CHECK(made.problem == Result::none);
  CHECK(std::count(made.headers.begin(), made.headers.end(), "from") == 2);
  CHECK(std::count(made.headers.begin(), made.headers.end(), "to") == 2);
  CHECK(std::count(made.headers.begin(), made.headers.end(), "reply-to") == 1);
  CHECK(made.expires.has_value());
  const auto judge = [&](const Engine& by, const std::string& text, const std::string& content) {
    const Mail mail = mail_of(text, content);
    std::size_t left = 0;
    const auto findings = by.verify(mail, find_signatures(mail, now, 1, left), keys);
    return findings.size() == 1 ? findings[0].result : Result::none;
  };
  for (const bool opendkim : {false, true}) {
    CAPTURE(opendkim);
    const auto other = make(opendkim);
    CHECK(judge(*other, field + "\r\n" + header, body) == Result::pass);
    CHECK(judge(*other, field + "\r\n" + header, body + "x\r\n") == Result::fail);
    CHECK(judge(*other, field + "\r\nReply-To: x@evil.example\r\n" + header, body) == Result::fail);
  }
}

TEST_CASE("dkim engine: l= and several signatures", "[dkim]") {
  // The second has no l=: what the first one says is not for it.
  const std::string pem = fresh_key();
  std::string problem;
  const auto key = Key::from_private(pem, problem);
  const auto engine = make(false);
  const std::string header = "From: a@example.com\r\n";
  const std::string value = make(false, [] { SignPolicy p; p.headers = {"from"}; return p; }())->sign(mail_of(header, kBody), {&*key, "example.com", "sel", "", 1'600'000'000}, problem);
  std::string field = "DKIM-Signature: ";
  for (const char c : value) c == '\n' ? field += "\r\n" : field += c;
  const Keys keys = {{"sel._domainkey.example.com", {KeyAnswer::Status::found, key->record()}}};
  const std::string partial = "DKIM-Signature: v=1; a=rsa-sha256; d=example.com; s=sel; l=3; h=from; bh=MTIz; b=QUJD\r\n";
  for (const bool opendkim : {false, true}) {
    CHECK(verify(*make(opendkim), partial + field + "\r\nFrom: a@example.com\r\n", kBody, keys) == "fail pass ");
  }
}

TEST_CASE("dkim crypto: keys that are none", "[dkim]") {
  std::string problem;
  CHECK_FALSE(Key::from_private("", problem));
  CHECK_FALSE(Key::from_private("-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n", problem));
  CHECK_FALSE(Key::from_private("QUJD", problem));
  CHECK_FALSE(Key::from_record("short", Algorithm::ed25519_sha256));
  CHECK_FALSE(Key::from_record("garbage", Algorithm::rsa_sha256));
  CHECK_FALSE(Key::from_record("", Algorithm::rsa_sha256));
}
