// Canonicalization: the examples of RFC 6376 section 3.4.5, and that pieces make no difference.
#include <catch2/catch.hpp>

#include "plugins/dkim/canonical.h"

using namespace millrace::dkim;

namespace {

std::string body(Canon canon, std::string_view text, std::size_t piece) {
  BodyCanon subject(canon);
  std::string out;
  for (std::size_t at = 0; at < text.size(); at += piece) subject.add(text.substr(at, piece), out);
  subject.finish(out);
  return out;
}
std::string field(Canon canon, std::string_view text) {
  std::string out;
  canonical_field(text, canon, out);
  return out;
}

}  // namespace

TEST_CASE("dkim canonical: fields", "[dkim]") {
  CHECK(field(Canon::relaxed, "A: X") == "a:X\r\n");
  CHECK(field(Canon::relaxed, "B : Y\t\r\n\tZ  ") == "b:Y Z\r\n");
  CHECK(field(Canon::simple, "B : Y\t\r\n\tZ  ") == "B : Y\t\r\n\tZ  \r\n");
  CHECK(field(Canon::relaxed, "Empty:") == "empty:\r\n");
  CHECK(field(Canon::relaxed, "Empty: \r\n ") == "empty:\r\n");
  CHECK(field(Canon::relaxed, "X:a:b") == "x:a:b\r\n");
  CHECK(field_name("Subject \t: x") == "Subject");
  CHECK(field_name("no colon").empty());
}

TEST_CASE("dkim canonical: bodies, in pieces of any size", "[dkim]") {
  struct Case {
    const char *text, *simple, *relaxed;
  };
  const auto one = GENERATE(values<Case>({
      {" C \r\nD \t E\r\n\r\n\r\n", " C \r\nD \t E\r\n", " C\r\nD E\r\n"},
      {"", "\r\n", ""},
      {"\r\n\r\n", "\r\n", ""},
      {" \r\n\t\r\n", " \r\n\t\r\n", ""},
      {"a\r\n \r\n\r\nb\r\n", "a\r\n \r\n\r\nb\r\n", "a\r\n\r\n\r\nb\r\n"},
      {"no end", "no end\r\n", "no end\r\n"},
      {"a \r\n\r\n", "a \r\n", "a\r\n"},
      {"lone\rcr\r\n", "lone\rcr\r\n", "lone\rcr\r\n"},
      {"end\r", "end\r\r\n", "end\r\r\n"},
      {"\r\r\n", "\r\r\n", "\r\r\n"},
      {"a \rb\r\n", "a \rb\r\n", "a \rb\r\n"},
  }));
  CAPTURE(one.text);
  for (const std::size_t piece : {1, 2, 3, 5, 100}) {
    CHECK(body(Canon::simple, one.text, piece) == one.simple);
    CHECK(body(Canon::relaxed, one.text, piece) == one.relaxed);
  }
}

TEST_CASE("dkim canonical: h= takes fields from the bottom up", "[dkim]") {
  const std::vector<std::string> names = {"dkim-signature", "received", "from", "to", "received", "dkim-signature"};
  using Indexes = std::vector<std::size_t>;
  CHECK(select_fields(names, {"from", "received", "received", "received", "x"}, 0) == Indexes{2, 4, 1});
  CHECK(select_fields(names, {"from", "from"}, 0) == Indexes{2});
  CHECK(select_fields(names, {"dkim-signature", "dkim-signature"}, 0) == Indexes{5});
}
