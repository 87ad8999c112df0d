#include "core/daemon/content_checks.h"

#include <catch2/catch.hpp>

using namespace millrace;

namespace {

mime::Message message_of(const std::vector<std::string>& headers, std::string_view body) {
  mime::Message message;
  for (const std::string& text : headers) message.headers.emplace_back(text, text.find(':'));
  REQUIRE(message.body.append(body).has_value());
  return message;
}

struct Outcome {
  filter::Verdict verdict;
  std::string text;   // the message afterwards
};

// Runs header_checks (and body_checks) over a message and applies the edits.
Outcome check(const std::string& header_rules, const std::string& body_rules, mime::Message message) {
  config::Findings findings;
  const auto config = config::Config::from_text("myhostname = mx.example\nheader_checks = " + header_rules +
                                                "\nbody_checks = " + body_rules + "\n", "", findings);
  map::TableSet tables({"/", [](const std::string& text) { FAIL(text); }});
  auto filter = daemon::make_content_checks(*config, config->params(), tables, log::Logger(), findings);
  REQUIRE(filter);
  filter::SessionFacts facts;
  mime::Envelope envelope;
  filter::Context context{facts, envelope};
  filter::Journal journal;
  Outcome out;
  out.verdict = filter->open(facts)->message(context, message, journal);
  REQUIRE(filter::apply(journal, envelope, message, nullptr).has_value());
  out.text = message.header_text();
  REQUIRE(message.body.for_each([&](std::string_view piece) { out.text += piece; return true; }).has_value());
  return out;
}

}  // namespace

TEST_CASE("content checks: replace, ignore and prepend keep the order of headers", "[daemon][checks]") {
  const auto out = check("pcre:{{/^X-Gone/ IGNORE}, {/^X-Old: (.*)/ REPLACE X-New: was $$1}, {/^Subject/ PREPEND X-Before: p}}", "",
                         message_of({"X-Gone: 1", "X-Old: a", "Subject: s", "X-Gone: 2", "X-Old: b", "To: t"}, "body\r\n"));
  CHECK(out.text == "X-New: was a\r\nX-Before: p\r\nSubject: s\r\nX-New: was b\r\nTo: t\r\n\r\nbody\r\n");
}

TEST_CASE("content checks: body lines are replaced, dropped and put before", "[daemon][checks]") {
  const auto out = check("", "pcre:{{/^drop/ IGNORE}, {/^old (.*)/ REPLACE new $$1}, {/^here/ PREPEND inserted}}",
                         message_of({"Subject: s"}, "first\r\ndrop me\r\nold x\r\nhere\r\nlast\r\n"));
  CHECK(out.text == "Subject: s\r\n\r\nfirst\r\nnew x\r\ninserted\r\nhere\r\nlast\r\n");
}

TEST_CASE("content checks: REJECT refuses and leaves nothing half done", "[daemon][checks]") {
  const auto out = check("pcre:{{/^X-Gone/ IGNORE}, {/^Subject: bad/ REJECT 5.7.9 no}}", "",
                         message_of({"X-Gone: 1", "Subject: bad"}, ""));
  CHECK(out.verdict.action == filter::Action::reject);
  CHECK(out.verdict.enhanced == "5.7.9");
  CHECK(out.verdict.text == "no");
}

TEST_CASE("content checks: a body of which everything is dropped is empty", "[daemon][checks]") {
  CHECK(check("", "pcre:{{/./ IGNORE}}", message_of({"A: b"}, "x\r\n")).text == "A: b\r\n\r\n");
}
