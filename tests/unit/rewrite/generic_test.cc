// smtp_generic_maps; the rows are what Postfix 3.7's smtp client made of the same configuration.
#include <catch2/catch.hpp>

#include "core/rewrite/generic.h"

using namespace millrace;
using rewrite::GenericMaps;

namespace {
std::shared_ptr<const GenericMaps> generic(const std::string& main_cf) {
  static map::TableSet tables({});
  config::Findings findings;
  const auto config = config::Config::from_text(R"(
compatibility_level = 3.6
myhostname = mx.mill.example
myorigin = mill.example
mydestination = local.example
local_recipient_maps =
alias_maps =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
recipient_delimiter = +
)" + main_cf, "", findings);
  auto router = rewrite::Router::make(config, config->params(), tables);
  if (!router) FAIL(router.error().context);
  auto made = GenericMaps::make("smtp_generic_maps", config->params().smtp_generic_maps, config->params(), *router, tables);
  if (!made) FAIL(made.error().context);
  return *made;
}
constexpr const char* kMaps =
    "smtp_generic_maps = inline:{{in@dest.example=out@public.example}, {@inside.example=@public.example}, "
    "{joe=joe@public.example}, {twice@dest.example=in@dest.example}}\n";

std::string header(const GenericMaps& maps, std::string field) {
  const auto done = maps.header(field);
  return done ? field : "(error)";
}
}  // namespace

TEST_CASE("generic: envelope addresses, once each", "[rewrite][generic]") {
  const auto maps = generic(kMaps);
  struct Case { const char *from, *to; };
  const auto one = GENERATE(values<Case>({
      {"in@dest.example", "out@public.example"}, {"IN@dest.example", "out@public.example"}, {"", ""},
      {"in+ext@dest.example", "out@public.example"}, {"y@inside.example", "y@public.example"},
      {"y+z@inside.example", "y+z@public.example"}, {"joe@local.example", "joe@public.example"},
      {"joe@mill.example", "joe@public.example"}, {"joe@dest.example", "joe@dest.example"},
      {"twice@dest.example", "in@dest.example"}, 
      {"x@other.example", "x@other.example"}}));
  CAPTURE(one.from);
  CHECK(maps->address(one.from).value() == one.to);
}

TEST_CASE("generic: extensions travel when told", "[rewrite][generic]") {
  CHECK(generic(std::string(kMaps) + "propagate_unmatched_extensions = generic")->address("in+ext@dest.example").value() ==
        "out+ext@public.example");
}

TEST_CASE("generic: address fields, and nothing else of them", "[rewrite][generic]") {
  const auto maps = generic(kMaps);
  CHECK(header(*maps, "From: \"In, side\" <in@dest.example> (me)\r\n") == "From: \"In, side\" <out@public.example>(me)\r\n");
  CHECK(header(*maps, "To: y@inside.example,\r\n x@other.example\r\n") == "To: y@public.example, x@other.example\r\n");
  CHECK(header(*maps, "Resent-Bcc: in@dest.example\r\n") == "Resent-Bcc: out@public.example\r\n");
  CHECK(header(*maps, "Subject: in@dest.example\r\n") == "Subject: in@dest.example\r\n");
  CHECK(header(*maps, "To:  x@other.example ,,(c)\r\n") == "To:  x@other.example ,,(c)\r\n");
}

TEST_CASE("generic: no parameter, no maps; a table that fails is an error", "[rewrite][generic]") {
  CHECK(generic("") == nullptr);
  const auto maps = generic("smtp_generic_maps = fail:x");
  CHECK_FALSE(maps->address("a@b.example"));
  CHECK(header(*maps, "To: a@b.example\r\n") == "(error)");
  CHECK(maps->address("").value().empty());
}
