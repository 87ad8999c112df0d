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

std::string edited(std::string text, std::size_t limit = 1000, std::size_t name_length = 3) {
  const auto done = rewrite::edit_addresses(text, name_length, limit, [](const rewrite::Tokens& tokens) -> Result<std::optional<std::string>> {
    return std::optional<std::string>(rewrite::internal_text(tokens) + "@E");
  });
  REQUIRE(done);
  return text;
}

}  // namespace

// What Postfix 3.7's cleanup printed when every address was changed.
TEST_CASE("address list: addresses, names, comments, groups", "[rewrite][list]") {
  struct Case { const char *text, *printed; };
  const auto one = GENERATE(values<Case>({
      {" joe", " joe@E"}, {" a ,\r\n b ", " a@E, b@E"}, {"Full Name <bob> (c), \"a, b\" <x>", " Full Name <bob@E>(c), \"a, b\" <x@E>"},
      {"list: x, z;, (a) joe (Joe)", " list: x@E, z@E;, joe@E (a) (Joe)"}, {"a (c) . x", " a.x@E (c)"},
      {"<> , undisclosed-recipients:;", "<> , undisclosed-recipients:;"}, {"Joe User, a", " Joe@E, User@E, a@E"},
      {"<a> rest, b", " <a@E>, rest@E, b@E"}, {"\"q \\\" x\" <a>", " \"q \\\" x\" <a@E>"}, {"<\"a b\">", " <\"a b\"@E>"},
      {"a,", " a@E, "}, {"a, b, ,", " a@E, b@E, , "}, {"<a(in)b>", " <ab@E (in)>"}, {"x <a> <b>", " x <a@E> <b@E>"},
      {"g: a; h: b;", " g:a;h: b@E;"}, {"(only)", "(only)"}, {"", ""}, {"[1.2.3.4] <a>", " [1.2.3.4] <a@E>"},
      {"(unclosed a", "(unclosed a"}, {"a (unclosed b", " a@E (unclosed b"}, {"a (x\r\n\ty) b", " a@E, b@E (x \ty)"}, {"<a", " \"<a\"@E"}, {"a\\@b <c>, d\\,e", " \"a@b\" <c@E>, \"d,e\"@E"}}));
  CAPTURE(one.text);
  CHECK(edited(one.text) == one.printed);
}

TEST_CASE("address list: what fits into 70 columns stands on a line", "[rewrite][list]") {
  std::string text, expected = " ";
  for (char c = 'a'; c <= 'h'; ++c) text += (text.empty() ? "" : ",") + std::string(17, c);
  // "To: " and three of 19 with their commas and blanks are 66.
  CHECK(edited(text) == " aaaaaaaaaaaaaaaaa@E, bbbbbbbbbbbbbbbbb@E, ccccccccccccccccc@E,\r\n\tddddddddddddddddd@E, eeeeeeeeeeeeeeeee@E, "
                        "fffffffffffffffff@E,\r\n\tggggggggggggggggg@E, hhhhhhhhhhhhhhhhh@E");
}

TEST_CASE("address list: too much text beside an address, and too many tokens", "[rewrite][list]") {
  CHECK(edited(std::string(251, 'n') + " <a>, b") == " <a@E>, b@E");
  CHECK(edited(std::string(240, 'n') + " <a>").size() == 240 + 7);
  CHECK(edited("a, b, c, d", 4) == " a@E, b@E, ");
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
  CHECK(message.headers[1].text() == "To: root@h.d.example, u@d.example, X <a@d.example>");
  CHECK(message.headers[2].text() == "Subject: old@d.example");
  REQUIRE(c->headers(untouched, Cleanup::HeaderContext::none, true));
  CHECK(untouched.headers[0].text() == "From: Me <me@s.example>");
  CHECK_FALSE(cleanup("canonical_maps = fail:broken")->headers(message, Cleanup::HeaderContext::local, true));
}
