#include "core/smtp/address.h"

#include <catch2/catch.hpp>

using namespace millrace::smtp;

namespace {
std::string path(std::string_view typed, bool strict = false) { return parse_path(typed, strict).value_or("bad"); }
}  // namespace

TEST_CASE("smtp address: the forms that Postfix takes", "[smtp][address]") {
  struct Case { const char *typed, *address; };
  const Case row = GENERATE(values<Case>({
      {"<>", ""}, {"a@b", "a@b"}, {"<a@b>", "a@b"}, {"a@b>", "a@b"}, {"<<a@b>>", "a@b"}, {"<a@b>>", "a@b"},
      {"(comment)<a@b>", "a@b"}, {"<\"a b\"@c>", "a b@c"}, {"<a b@c>", "bad"}, {"<@hop:a@b>", "a@b"},
      {"<@x,@y:a@b>", "a@b"}, {"<a@b@c>", "a@b@c"}, {"<@b>", "@b"}, {"<a@[192.0.2.5]>", "a@[192.0.2.5]"},
      {"<b@[dest>", "bad"}, {"<a>", "a"}, {"<a:b@c>", "a:b@c"}, {"<b;c@d>", "bad"}, {"<b,c@d>", "bad"},
      {"<b..c@d>", "b..c@d"}, {"<.b@d>", ".b@d"}, {"<b.@d>", "b.@d"}, {"<b\\@c@d>", "b@c@d"},
      {"<b@d>,<c@d>", "bad"}, {"<Full Name <b@d>>", "b@d"}, {"\"b c\"@d", "b c@d"}, {"<b@d(comment)>", "b@d"},
      {"<)@d>", ")@d"}, {")", ")"}, {"<a)b@d>", "bad"}, {"<\"b@x\"@d>", "b@x@d"}, {"<x!b@d>", "x!b@d"}, {"<a@>", "a@"}, {"<\"a\\\"b\"@c>", "a\"b@c"},
  }));
  CAPTURE(row.typed);
  CHECK(path(row.typed) == row.address);
}

TEST_CASE("smtp address: strict_rfc821_envelopes", "[smtp][address]") {
  CHECK(path("<a@b>", true) == "a@b");
  CHECK(path("<>", true) == "");
  CHECK(path("<@hop:a@b>", true) == "a@b");
  for (const char* bad : {"a@b", "<<a@b>>", "<Name <a@b>>", "<a@b(c)>", "<@b>", "a@b>"}) {
    CAPTURE(bad);
    CHECK(path(bad, true) == "bad");
  }
}

TEST_CASE("smtp address: host names", "[smtp][address]") {
  for (const char* good : {"a", "mx.example", "bad_name.example", "a-b.example", "x.1", "example."}) CHECK(is_host_name(good));
  for (const char* bad : {"", ".", "a..b", "-a.b", "a-.b", "a b", "1.2.3.4", "a!b", ".a"}) {
    CAPTURE(bad);
    CHECK_FALSE(is_host_name(bad));
  }
  CHECK_FALSE(is_host_name("d\xC3\xA9st.example"));
  CHECK(is_host_name("d\xC3\xA9st.example", true));
  CHECK_FALSE(is_host_name(std::string(64, 'a') + ".b"));
  CHECK(is_ip_address("192.0.2.1"));
  CHECK(is_ip_address("IPv6:2001:db8::1"));
  CHECK_FALSE(is_ip_address("999.1.1.1"));
}
