// Tag lists, signatures and key records as domains and peers write them.
#include <catch2/catch.hpp>

#include "plugins/dkim/signature.h"
#include "plugins/dkim/tags.h"

using namespace millrace::dkim;

namespace {

constexpr std::uint64_t kNow = 1'700'000'000;
const std::string kGood = "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/simple; d=example.com; s=sel;\r\n\th=from:to; bh=MTIz; b=QUJD";

Signature with(std::string_view more) { return parse_signature(kGood + "; " + std::string(more), kNow); }

}  // namespace

TEST_CASE("dkim tags: lists", "[dkim]") {
  const auto tags = parse_tags(" a = 1 ;b=;\r\n\tc_2 = x = y ; ");
  REQUIRE(tags);
  REQUIRE(tags->size() == 3);
  CHECK((*tags)[0].name == "a");
  CHECK((*tags)[0].value == "1");
  CHECK((*tags)[1].value.empty());
  CHECK((*tags)[2].name == "c_2");
  CHECK((*tags)[2].value == "x = y");
  for (const char* const wrong : {"a", "=1", "a=1; a=2", "1a=1", "a=1;;b=2", "a b=1"}) {
    CAPTURE(wrong);
    CHECK_FALSE(parse_tags(wrong));
  }
  CHECK(parse_tags("a=1;;b=2", true)->size() == 2);
  CHECK(parse_tags("")->empty());
  std::string many;
  for (int i = 0; i <= 64; ++i) many += "t" + std::to_string(i) + "=1;";
  CHECK_FALSE(parse_tags(many));
}

TEST_CASE("dkim tags: base64", "[dkim]") {
  for (const char* const text : {"", "a", "ab", "abc", "abcd", "\xff\xfe"}) CHECK(decode_base64(encode_base64(text)) == text);
  CHECK(decode_base64(" Q\r\n UJ\tD ") == "ABC");
  for (const char* const wrong : {"Q", "QU", "QUI", "QUJD=", "Q=JD", "QU==QU==", "Q!JD", "QUI=="}) {
    CAPTURE(wrong);
    CHECK_FALSE(decode_base64(wrong));
  }
}

TEST_CASE("dkim signature: what is read", "[dkim]") {
  const Signature s = with("t=1600000000; x=1800000000; l=12; i=Joe@mail.Example.com; q=dns/txt; z=From:x");
  CHECK(s.problem == Result::none);
  CHECK(s.reason.empty());
  CHECK(s.key_name() == "sel._domainkey.example.com");
  CHECK(s.algorithm == Algorithm::rsa_sha256);
  CHECK(s.header_canon == Canon::relaxed);
  CHECK(s.body_canon == Canon::simple);
  CHECK(s.headers == std::vector<std::string>{"from", "to"});
  CHECK(s.body_hash == "123");
  CHECK(s.value == "ABC");
  CHECK(s.b_start == "QUJD");
  CHECK(s.length == 12);
  CHECK(s.identity == "Joe@mail.Example.com");
  const Signature plain = parse_signature(kGood, kNow);
  CHECK(plain.identity == "@example.com");
  CHECK(without_value(kGood, plain) == kGood.substr(0, kGood.size() - 4));
  const std::string middle = "DKIM-Signature: v=1; b=\r\n QU JD ; a=rsa-sha256; d=example.com; s=sel; h=from; bh=MTIz";
  const Signature folded = parse_signature(middle, kNow);
  CHECK(folded.problem == Result::none);
  CHECK(folded.header_canon == Canon::simple);
  CHECK(without_value(middle, folded) == "DKIM-Signature: v=1; b=; a=rsa-sha256; d=example.com; s=sel; h=from; bh=MTIz");
}

TEST_CASE("dkim signature: what is wrong", "[dkim]") {
  struct Case {
    const char *from, *to, *reason;
  };
  const auto one = GENERATE(values<Case>({
      {"v=1", "v=2", "unknown version"},
      {"v=1; ", "", "a tag is missing"},
      {"rsa-sha256", "rsa-md5", "unknown algorithm"},
      {"example.com", "example..com", "no domain name in d= or s="},
      {"s=sel", "s=a b", "no domain name in d= or s="},
      {"s=sel", "s=sel; i=@badexample.com", "i= is not below d="},
      {"relaxed/simple", "relaxed/odd", "unknown canonicalization"},
      {"h=from:to", "h=to", "From is not signed"},
      {"h=from:to", "h=from::to", "an empty name in h="},
      {"bh=MTIz", "bh=***", "b= or bh= is no base64"},
      {"b=QUJD", "b=", "b= or bh= is no base64"},
      {"s=sel", "s=sel; l=1x", "a number in l=, t= or x= is none"},
      {"s=sel", "s=sel; t=99999999999", "signed in the future"},
      {"s=sel", "s=sel; t=1600000000; x=1500000000", "x= is before t="},
      {"s=sel", "s=sel; q=http", "unknown query method"},
      {"s=sel", "s=sel; s=other", "the signature is no tag list"},
      {"s=sel", "s=sel; x=1600000000", "signature expired"},
  }));
  std::string text = kGood;
  text.replace(text.find(one.from), std::string(one.from).size(), one.to);
  const Signature s = parse_signature(text, kNow);
  CAPTURE(text);
  CHECK(s.reason == one.reason);
  CHECK(s.problem == (s.reason == "signature expired" ? Result::permerror : Result::neutral));
}

TEST_CASE("dkim key: records", "[dkim]") {
  const Signature rsa = parse_signature(kGood, kNow);
  struct Case {
    const char *record, *problem;
  };
  const auto one = GENERATE(values<Case>({
      {"v=DKIM1; k=rsa; p=QUJD", ""},
      {"p=QU JD", ""},
      {" k = rsa ;; p = QUJD ; n=a note", ""},
      {"v=DKIM1; h=sha1:sha256; s=email:web; p=QUJD", ""},
      {"v=DKIM1; p=", "key revoked"},
      {"v=DKIM1; k=rsa", "no key in the key record"},
      {"v=DKIM2; p=QUJD", "unknown version of the key record"},
      {"k=ed25519; p=QUJD", "the key is of another type"},
      {"h=sha1; p=QUJD", "the key is not for this hash"},
      {"s=web; p=QUJD", "the key is not for mail"},
      {"p=***", "the key is no base64"},
      {"nonsense", "the key record is no tag list"},
  }));
  CAPTURE(one.record);
  const KeyRecord record = parse_key(one.record, rsa);
  CHECK(record.problem == one.problem);
  CHECK(record.key == (record.problem.empty() ? "ABC" : ""));
  CHECK_FALSE(record.is_testing);
  CHECK(parse_key("t=y:s; p=QUJD", rsa).is_testing);
  CHECK(parse_key("t=s; p=QUJD", rsa).problem.empty());
  CHECK(parse_key("t=s; p=QUJD", with("i=a@sub.example.com")).problem == "the key is not for subdomains");
}
