// Parts of a message, and forged Authentication-Results fields.
#include <catch2/catch.hpp>

#include "core/plugin/authserv.h"
#include "core/plugin/mime_view.h"

using namespace millrace;

namespace {

mime::Message message(const std::vector<std::pair<std::string, std::string>>& headers, std::string_view body) {
  mime::Message out;
  for (const auto& [name, value] : headers) out.headers.push_back(mime::Header::make(name, value));
  REQUIRE(out.body.append(body));
  return out;
}
std::string decoded(plugin::MimeView& view, std::size_t part, std::size_t step = 7) {
  std::string out(1, '\0'), whole;
  out.resize(step);
  for (;;) {
    const auto n = view.read(part, whole.size(), out);
    REQUIRE(n.has_value());
    if (*n == 0) return whole;
    whole.append(out, 0, *n);
  }
}
std::string raw(const mime::Message& m, const plugin::MimePart& part) { return m.body.memory().substr(part.offset, part.size); }

}  // namespace

TEST_CASE("mime view: a message without parts is one part", "[plugin]") {
  const auto m = message({{"Subject", "x"}}, "a\r\nb\r\n");
  plugin::MimeView view(m);
  REQUIRE(view.parts().size() == 1);
  CHECK(view.parts()[0].type == "text/plain");
  CHECK(view.parts()[0].depth == 0);
  CHECK(raw(m, view.parts()[0]) == "a\r\nb\r\n");
  CHECK(decoded(view, 0) == "a\r\nb\r\n");
  const auto none = message({}, "");
  CHECK(plugin::MimeView(none).parts().at(0).size == 0);
}

TEST_CASE("mime view: multiparts, attachments and messages in each other", "[plugin]") {
  const auto m = message({{"Content-Type", "Multipart/Mixed;\n boundary=\"o\""}},
                         "preamble\r\n"
                         "--o\r\nContent-Type: multipart/alternative; boundary=i\r\n\r\n"
                         "--i\r\nContent-Type: text/plain; charset=UTF-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
                         "caf=C3=A9 =\r\nau lait \r\n=3D\r\n"
                         "--i\r\nContent-Type: text/html\r\n\r\n<b>\r\n--i--\r\nbetween\r\n"
                         "--o\r\nContent-Disposition: attachment; filename*=utf-8''a%20b.exe; filename=plain.txt\r\n"
                         "Content-Type: application/octet-stream; name=x\r\nContent-Transfer-Encoding: BASE64\r\n\r\n"
                         "SGVs\r\nbG8=\r\n"
                         "--o\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\nContent-Type: text/x-in\r\n\r\nin it\r\n"
                         "--o\r\n\r\nplain\r\n"
                         "--o--\r\nepilogue\r\n");
  plugin::MimeView view(m);
  const auto& parts = view.parts();
  std::string shape;
  for (const auto& part : parts) shape += std::to_string(part.depth) + part.type + " ";
  CHECK(shape == "0multipart/mixed 1multipart/alternative 2text/plain 2text/html 1application/octet-stream 1message/rfc822 2text/x-in 1text/plain ");
  CHECK(parts[2].charset == "utf-8");
  CHECK(decoded(view, 2) == "caf\xC3\xA9 au lait\r\n=");
  CHECK(decoded(view, 2, 1) == "caf\xC3\xA9 au lait\r\n=");
  CHECK(raw(m, parts[3]) == "<b>");
  CHECK(parts[4].filename == "a b.exe");
  CHECK(parts[4].disposition == "attachment");
  CHECK(parts[4].encoding == "base64");
  CHECK(decoded(view, 4) == "Hello");
  CHECK(raw(m, parts[5]) == "Subject: inner\r\nContent-Type: text/x-in\r\n\r\nin it");
  CHECK(raw(m, parts[6]) == "in it");
  CHECK(parts[6].headers.at(0).second == "inner");
  CHECK(raw(m, parts[7]) == "plain");
  CHECK(raw(m, parts[0]) == m.body.memory());
  CHECK(decoded(view, 4) == "Hello");   // back again
}

TEST_CASE("mime view: what is cut off or endless stays within bounds", "[plugin]") {
  std::string many;
  for (int i = 0; i < 3000; ++i) many += "--b\r\nX: y\r\n\r\nz\r\n";
  const auto m = message({{"Content-Type", "multipart/mixed; boundary=b"}}, many);
  CHECK(plugin::MimeView(m).parts().size() == plugin::MimeView::kMaxParts);
  const auto cut = message({{"Content-Type", "multipart/mixed; boundary=b"}}, "--b\r\nContent-Type: text/x");
  plugin::MimeView view(cut);
  REQUIRE(view.parts().size() == 2);
  CHECK(view.parts()[1].size == 0);
  CHECK(decoded(view, 1).empty());
  const auto fields = message({{"Content-Type", "multipart/mixed; boundary=b"}}, "--b\r\nX: " + std::string(90'000, 'x') + "\r\nY: z\r\n\r\nbody\r\n--b--\r\n");
  plugin::MimeView big(fields);
  CHECK(big.parts().at(1).headers.size() == 1);
  CHECK(decoded(big, 1) == "body");
}

TEST_CASE("mime view: parameters as mail programs write them", "[plugin]") {
  using plugin::parse_parameterized;
  CHECK(parse_parameterized("Text / HTML").word == "text/html");
  CHECK(parse_parameterized("text/html (a; b=c); Charset = \"u\\\"8\"").get("charset") == "u\"8");
  CHECK(parse_parameterized("a/b; name*0=\"x \"; name*1*=%41'; name*2=c").get("name") == "x A'c");
  CHECK(parse_parameterized("a/b; f=old; f*=utf-8'en'new%").get("f") == "new%");
  CHECK(parse_parameterized("a/b; junk; =x; k=v; ;;").get("k") == "v");
  CHECK(parse_parameterized("(((").word.empty());
  CHECK(parse_parameterized("\"").word.empty());
  CHECK(parse_parameterized("").parameters.empty());
}

TEST_CASE("mime view: decoders take any split", "[plugin]") {
  const std::pair<const char*, std::string> cases[] = {{"base64", "SGVs\r\nbG8g d29y!bGQ=\r\nQUJD"}, {"quoted-printable", "a=\r\nb=20 \r\n=41==\r\nlast="},
                                                       {"8bit", "as it is=41"}};
  for (const auto& [encoding, text] : cases) {
    std::string whole;
    plugin::PartDecoder all(encoding);
    all.add(text, whole);
    all.finish(whole);
    for (std::size_t cut = 0; cut <= text.size(); ++cut) {
      std::string out;
      plugin::PartDecoder decoder(encoding);
      decoder.add(text.substr(0, cut), out);
      decoder.add(text.substr(cut), out);
      decoder.finish(out);
      CHECK(out == whole);
    }
    if (std::string(encoding) == "base64") CHECK(whole == "Hello worldABC");
    if (std::string(encoding) == "quoted-printable") CHECK(whole == "ab \r\nA=last");
  }
}

TEST_CASE("authserv-id: whose field it is", "[plugin]") {
  using plugin::authserv_id_of;
  CHECK(authserv_id_of(" mx.example; spf=pass") == "mx.example");
  CHECK(authserv_id_of("\r\n\t(c (n) \\)) mx.example/1; x") == "mx.example/1");
  CHECK(authserv_id_of("mx.example 1; x") == "mx.example");
  CHECK(authserv_id_of(" \"mx.\\example\"(c); x") == "mx.example");
  CHECK(authserv_id_of("(never closed").empty());
  CHECK(authserv_id_of("").empty());
}

TEST_CASE("authserv-id: forged fields go, ours and others' stay", "[plugin]") {
  const auto guard = plugin::make_authserv_guard("mx.example");
  filter::Chain chain;
  chain.add(guard);
  for (const bool local : {false, true}) {
    filter::SessionFacts facts;
    facts.is_local = local;
    filter::ChainSession session(chain, facts, nullptr, log::Logger());
    mime::Envelope envelope;
    filter::Context context{.session = facts, .envelope = envelope};
    auto m = message({{"Authentication-Results", "mx.example; spf=pass ours"}, {"Received", "by us"},
                      {"Authentication-Results", "MX.Example; spf=forged"}, {"Authentication-Results", "other.example; dkim=pass"},
                      {"authentication-results", "(x) mx.example (y); dkim=forged"}, {"Subject", "s"}}, "b\r\n");
    m.headers[1].own_received = true;
    CHECK(session.message(context, m, -1).action == filter::Action::proceed);
    std::string left;
    for (const auto& header : m.headers) left += header.text().substr(header.text().size() - 4) + ",";
    CHECK(left == (local ? "ours,y us,rged,pass,rged,t: s," : "ours,y us,pass,t: s,"));
  }
}
