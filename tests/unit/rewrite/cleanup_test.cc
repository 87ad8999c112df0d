// Address lists byte for byte, and cleanup's mappings; the rows are what Postfix 3.7 made of the same configuration.
#include <catch2/catch.hpp>

#include "core/rewrite/address_list.h"
#include "core/rewrite/cleanup.h"

using namespace millrace;
using rewrite::Cleanup;

namespace {

std::shared_ptr<const Cleanup> cleanup(const std::string& main_cf) {
  static map::TableSet tables({});
  config::Findings findings;
  const auto config = config::Config::from_text(R"(
compatibility_level = 3.6
myhostname = mx.mill.example
mydestination =
local_recipient_maps =
alias_maps =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
recipient_delimiter = +
)" + main_cf, "", findings);
  auto router = rewrite::Router::make(config, config->params(), tables);
  if (!router) FAIL(router.error().context);
  auto made = Cleanup::make(config->params(), *router, tables);
  if (!made) FAIL(made.error().context);
  return *made;
}

// "sender|recipient|recipient", or "temporary" / "too large".
std::string envelope(const Cleanup& cleanup, const std::string& sender, const std::vector<std::string>& recipients, bool map = true) {
  mime::Envelope envelope;
  envelope.sender = sender;
  for (const std::string& one : recipients) envelope.recipients.push_back({one, one, "", 0});
  if (const auto done = cleanup.envelope(envelope, map); !done) {
    return done.error().code == Errc::too_large ? "too large" : "temporary";
  }
  std::string out = envelope.sender;
  for (const mime::Recipient& one : envelope.recipients) out += "|" + one.address + (one.notify == mime::kNotifyNever ? "!" : "");
  return out;
}

std::string edited(std::string text, std::size_t limit = 1000) {
  const auto done = rewrite::edit_addresses(text, limit, [](const rewrite::Tokens& tokens) -> Result<std::optional<std::string>> {
    return std::optional<std::string>("{" + rewrite::internal_text(tokens) + "}");
  });
  REQUIRE(done);
  return text;
}

}  // namespace

TEST_CASE("address list: only addresses change", "[rewrite][list]") {
  CHECK(edited(" joe") == " {joe}");
  CHECK(edited(" a@x,\r\n b@y ") == " {a@x},\r\n {b@y} ");
  CHECK(edited("Full Name <bob> (c), \"a, b\" <x@y>") == "Full Name <{bob}> (c), \"a, b\" <{x@y}>");
  CHECK(edited("list: x@y, z;, (a@b) joe (Joe)") == "list: {x@y}, {z};, (a@b) {joe} (Joe)");
  CHECK(edited("<> , undisclosed-recipients:;") == "<> , undisclosed-recipients:;");
  CHECK(edited("a (c) @ x") == "{a@x} (c)");
  CHECK(edited("Joe User, a@x") == "Joe User, {a@x}");
  CHECK(edited("<a@x> rest, b@[1.2.3.4]") == "<{a@x}> rest, {b@[1.2.3.4]}");
  CHECK(edited("a@x, <b@y, c@z") == "{a@x}, <b@y, c@z");
  CHECK(edited("a@x, b@y", 4) == "{a@x}, b@y");
}

TEST_CASE("cleanup: virtual aliases", "[rewrite][cleanup]") {
  const auto c = cleanup(R"(
virtual_alias_domains = v.example
virtual_alias_maps = inline:{ {all@v.example = a@d.example  b@d.example}, {user@v.example = u@d.example},
  {nest@v.example = all@v.example, end@d.example}, {self@d.example = self@d.example, other@d.example},
  {@whole.example = @d.example}, {la@d.example = lb@d.example}, {lb@d.example = la@d.example}, {bad@v.example = ,} }
)");
  CHECK(envelope(*c, "s@x.example", {"all@v.example"}) == "s@x.example|a@d.example|b@d.example");
  CHECK(envelope(*c, "", {"user+y@v.example"}) == "|u+y@d.example");
  CHECK(envelope(*c, "", {"nest@v.example"}) == "|a@d.example|end@d.example|b@d.example");
  CHECK(envelope(*c, "", {"self@d.example"}) == "|self@d.example|other@d.example");
  CHECK(envelope(*c, "", {"joe+x@whole.example"}) == "|joe+x@d.example");
  CHECK(envelope(*c, "", {"ok@d.example", "la@d.example"}) == "too large");
  CHECK(envelope(*c, "", {"bad@v.example"}) == "temporary");
  CHECK(envelope(*c, "", {"all@v.example"}, false) == "|all@v.example");
  CHECK(envelope(*cleanup("virtual_alias_maps = fail:broken"), "", {"a@d.example"}) == "temporary");
  CHECK(envelope(*cleanup("virtual_alias_maps = inline:{ {m@d.example = a@x.example, b@x.example, c@x.example} }\n"
                          "virtual_alias_expansion_limit = 2"), "", {"m@d.example"}) == "too large");
}

TEST_CASE("cleanup: canonical addresses, masquerading, copies", "[rewrite][cleanup]") {
  const auto c = cleanup(R"(
canonical_maps = inline:{ {old@d.example = new@d.example}, {@alias.example = @d.example}, {short = long.name@d.example} }
sender_canonical_maps = inline:{ {me@s.example = myself@s.example} }
masquerade_domains = d.example
masquerade_exceptions = root
always_bcc = archive@d.example
sender_bcc_maps = inline:{ {boss@s.example = copy@d.example} }
recipient_bcc_maps = inline:{ {secret@d.example = watch@d.example}, {archive@d.example = loop@d.example} }
)");
  CHECK(envelope(*c, "me@s.example", {"old+x@d.example"}) == "myself@s.example|new+x@d.example|archive@d.example!");
  CHECK(envelope(*c, "u@h.d.example", {"u@h.d.example"}) == "u@d.example|u@h.d.example|archive@d.example!");
  CHECK(envelope(*c, "boss+e@s.example", {"secret+e@d.example"}) ==
        "boss+e@s.example|copy@d.example!|secret+e@d.example|watch@d.example!|archive@d.example!");
  CHECK(envelope(*c, "", {"a@d.example", "b@d.example", "a@d.example"}, false) == "|a@d.example|b@d.example");

  mime::Message message;
  message.headers.push_back(mime::Header::make("From", "Me <me@s.example>"));
  message.headers.push_back(mime::Header::make("To", "root@h.d.example,\n u@h.d.example, X <a@alias.example>"));
  message.headers.push_back(mime::Header::make("Subject", "old@d.example"));
  mime::Message untouched;
  untouched.headers = message.headers;
  REQUIRE(c->headers(message, Cleanup::HeaderContext::local, true));
  CHECK(message.headers[0].text() == "From: Me <myself@s.example>");
  CHECK(message.headers[1].text() == "To: root@h.d.example,\r\n u@d.example, X <a@d.example>");
  CHECK(message.headers[2].text() == "Subject: old@d.example");
  REQUIRE(c->headers(untouched, Cleanup::HeaderContext::none, true));
  CHECK(untouched.headers[0].text() == "From: Me <me@s.example>");
  CHECK_FALSE(cleanup("canonical_maps = fail:broken")->headers(message, Cleanup::HeaderContext::local, true));
}
