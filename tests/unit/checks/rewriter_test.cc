// Mail on its way to a next hop.  The quoted-printable cases are what Postfix 3.7 sent for the same messages.
#include "core/checks/rewriter.h"

#include <catch2/catch.hpp>

using namespace millrace;
using checks::Rewriter;

namespace {

std::string rewrite(std::string_view text, const checks::Rules* rules, bool to_seven_bit, std::vector<std::string>* notes = nullptr,
                    std::size_t step = 0) {
  checks::RewriterOptions options;
  options.rules = rules;
  options.to_seven_bit = to_seven_bit;
  options.note = [&](std::string_view action, bool is_header, std::string_view line, std::string_view note) {
    if (notes != nullptr) notes->push_back(std::string(action) + (is_header ? " header " : " body ") + std::string(line) + ": " + std::string(note));
  };
  Rewriter rewriter(std::move(options));
  std::string out;
  step = step == 0 ? text.size() + 1 : step;
  for (std::size_t at = 0; at < text.size(); at += step) REQUIRE(rewriter.add(text.substr(at, step), out));
  REQUIRE(rewriter.finish(out));
  return out;
}

}  // namespace

TEST_CASE("rewriter: declared 8-bit text becomes quoted-printable, at any split", "[checks][rewriter]") {
  const std::string message =
      "Subject: eight bit\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
      "--b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
      "gr\xc3\xbc\xc3\x9f" "e = ok\r\ntrailing space \r\n\r\n" +
      std::string(80, 'x') + "\r\n--b\r\nContent-Type: text/plain\r\n\r\nplain \xc3\xbc = \r\n--b--\r\n";
  const std::string wanted =
      "Subject: eight bit\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: 7bit\r\n\r\n"
      "--b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
      "gr=C3=BC=C3=9Fe =3D ok\r\ntrailing space=20\r\n\r\n" +
      std::string(73, 'x') + "=\r\n" + std::string(7, 'x') + "\r\n--b\r\nContent-Type: text/plain\r\n\r\nplain \xc3\xbc = \r\n--b--\r\n";
  for (const std::size_t step : {std::size_t{0}, std::size_t{1}, std::size_t{7}}) {
    CAPTURE(step);
    CHECK(rewrite(message, nullptr, true, nullptr, step) == wanted);
  }
}

TEST_CASE("rewriter: without work to do the text is the same, at any split", "[checks][rewriter]") {
  const std::string message = "A: b\r\n c\r\n\tD: e\r\n\r\n" + std::string(5000, 'y') + "\r\n\r\nend\r\n";
  for (const std::size_t step : {std::size_t{0}, std::size_t{1}, std::size_t{999}}) CHECK(rewrite(message, nullptr, false, nullptr, step) == message);
  CHECK(rewrite("A: b\r\n\r\n", nullptr, true) == "A: b\r\n\r\n");
}

TEST_CASE("rewriter: header and body rules, and those that do not count on the way out", "[checks][rewriter]") {
  map::TableSet tables({});
  const auto open = [&](const char* value) {
    auto maps = map::Maps::open(tables, value);
    REQUIRE(maps);
    return std::move(*maps);
  };
  checks::Rules rules;
  rules.header = open("pcre:{{/^Received/ IGNORE}, {/^X-Rep: (.*)/ REPLACE X-New: $1}, {/^X-Prep/ PREPEND X-Before: p}, {/^X-Hold/ HOLD no}, "
                      "{/^X-Bad/ REPLACE nothing}, {/^X-Strip/ STRIP gone}}");
  rules.body = open("pcre:{{/^secret/ REPLACE hidden}, {/^drop/ IGNORE}, {/^warn/ WARN look}}");
  std::vector<std::string> notes;
  CHECK(rewrite("Received: x\r\n y\r\nX-Rep: 1\r\nX-Prep: 2\r\nX-Hold: 3\r\nX-Bad: 4\r\nX-Strip: 5\r\n\r\nsecret\r\ndrop\r\nwarn\r\n", &rules, false, &notes) ==
        "X-New: 1\r\nX-Before: p\r\nX-Prep: 2\r\nX-Hold: 3\r\nX-Bad: 4\r\n\r\nhidden\r\nwarn\r\n");
  CHECK(notes == std::vector<std::string>{
                     "replace header X-Rep: 1: X-New: 1", "prepend header X-Prep: 2: X-Before: p",
                     " header X-Hold: 3: unsupported command in %s map: HOLD no",
                     " header X-Bad: 4: bad REPLACE header text \"nothing\" in %s map -- need \"headername: headervalue\"",
                     "strip header X-Strip: 5: gone", "replace body secret: hidden", "warning body warn: look"});
}
