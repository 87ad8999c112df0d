// The engine over tables.  The first case is the scenario header-mime of the differential suite.
#include <catch2/catch.hpp>

#include "core/checks/checks.h"

using namespace millrace;
using checks::Decision;

namespace {

struct Outcome {
  std::vector<std::string> findings;
  bool failed = false, ended = false;
};

checks::Rules rules(const char* header, const char* mime, const char* nested, const char* body) {
  static map::TableSet tables({});
  const auto open = [&](const char* value) {
    auto maps = map::Maps::open(tables, value);
    REQUIRE(maps);
    return std::move(*maps);
  };
  checks::Rules out;
  out.header = open(header);
  out.mime_header = open(mime);
  out.nested_header = open(nested);
  out.body = open(body);
  return out;
}

Outcome inspect(const checks::Rules& rules, const std::vector<std::string>& headers, std::string_view body, std::size_t step) {
  Outcome out;
  checks::Inspection inspection(rules, [&](const checks::Inspection::Finding& finding) {
    out.findings.push_back(std::string(finding.is_header ? "header " : "body ") + std::string(finding.text) + " => " +
                           std::to_string(static_cast<int>(finding.decision.kind)) + " " + finding.decision.text);
    if (finding.offset) {
      const std::string_view span = body.substr(*finding.offset, finding.length);
      CHECK(span.substr(0, 3) == finding.text.substr(0, 3));
    }
    return finding.decision.kind != Decision::Kind::reject && finding.decision.kind != Decision::Kind::pass;
  });
  for (const std::string& header : headers) {
    const std::size_t colon = header.find(':');
    inspection.header(header, std::string_view(header).substr(0, colon), std::string_view(header).substr(colon + 1));
  }
  inspection.end_of_headers();
  for (std::size_t at = 0; at < body.size(); at += step) inspection.body(body.substr(at, step));
  inspection.finish();
  out.failed = inspection.error().has_value();
  out.ended = inspection.done();
  return out;
}

std::string kind(Decision::Kind kind) { return " => " + std::to_string(static_cast<int>(kind)) + " "; }

}  // namespace

TEST_CASE("inspection: each class asks its own table", "[checks]") {
  const auto mixed = rules(
      "regexp:{{/^X-Mark/ REPLACE X-Mark: primary}}",
      "regexp:{{/^X-Mark/ REPLACE X-Mark: mime}, {/^Content-Description:/ IGNORE}}",
      "regexp:{{/^X-Mark/ REPLACE X-Mark: nested}}",
      "regexp:{{/^X-Mark/ WARN mark in body}, {/^replace (.*)/ REPLACE replaced $1}, {/^ignore/ IGNORE}, {/^prepend/ PREPEND inserted line}}");
  const std::string body =
      "X-Mark: preamble\r\n--b1\r\nX-Mark: 2\r\nContent-Type: text/plain\r\nContent-Description: part\r\n\r\n"
      "X-Mark: text\r\nreplace me\r\nignore me\r\nprepend here\r\n--b1\r\nContent-Type: message/rfc822\r\n\r\n"
      "X-Mark: 3\r\nSubject: inner\r\n\r\nX-Mark: inner body\r\n--b1--\r\nX-Mark: epilogue\r\n";
  const auto replace = kind(Decision::Kind::replace), warn = kind(Decision::Kind::warn), ignore = kind(Decision::Kind::ignore);
  const std::vector<std::string> wanted = {
      "header X-Mark: 1" + replace + "X-Mark: primary",
      "header Content-Description: top" + ignore,
      "body X-Mark: preamble" + warn + "mark in body",
      "header X-Mark: 2" + replace + "X-Mark: mime",
      "header Content-Description: part" + ignore,
      "body X-Mark: text" + warn + "mark in body",
      "body replace me" + replace + "replaced me",
      "body ignore me" + ignore,
      "body prepend here" + kind(Decision::Kind::prepend) + "inserted line",
      "header X-Mark: 3" + replace + "X-Mark: nested",
      "body X-Mark: inner body" + warn + "mark in body",
      "body X-Mark: epilogue" + warn + "mark in body",
  };
  for (const std::size_t step : {std::size_t{1}, std::size_t{7}, body.size()}) {
    const auto outcome = inspect(mixed, {"X-Mark: 1", "MIME-Version: 1.0", "Content-Type: multipart/mixed; boundary=\"b1\"",
                                         "Content-Description: top"}, body, step);
    CHECK(outcome.findings == wanted);
    CHECK_FALSE(outcome.failed);
  }
}

TEST_CASE("inspection: folded headers of a part are one text", "[checks]") {
  const auto attachment = rules("", "regexp:{{/^Content-Type:.*name=\"?[^;\"]*\\.(exe|vbs)/ REJECT type .$1 not taken}}", "", "");
  const auto outcome = inspect(attachment, {"Content-Type: multipart/mixed; boundary=b1"},
                               "--b1\r\nContent-Type: application/octet-stream;\r\n\tname=\"tool.exe\"\r\n\r\nx\r\n--b1--\r\n", 5);
  CHECK(outcome.findings ==
        std::vector<std::string>{"header Content-Type: application/octet-stream;\n\tname=\"tool.exe\"" + kind(Decision::Kind::reject) +
                                 "type .exe not taken"});
  CHECK(outcome.ended);
}

TEST_CASE("inspection: ends when the handler has seen enough, and at a table's error", "[checks]") {
  const auto passing = rules("inline:{{x = PASS}}", "", "", "static:WARN");
  CHECK(inspect(passing, {"x"}, "body\r\n", 3).findings.size() == 1);
  const auto failing = rules("", "", "", "fail:x");
  const auto outcome = inspect(failing, {"A: b"}, "one\r\ntwo\r\n", 3);
  CHECK(outcome.failed);
  CHECK(outcome.findings.empty());
}

TEST_CASE("inspection: body_checks_size_limit counts each part", "[checks]") {
  auto limited = rules("", "", "", "static:WARN");
  limited.body_size_limit = 10;
  const auto outcome = inspect(limited, {"Content-Type: multipart/mixed; boundary=b"}, "--b\r\n\r\n123456789\r\nxxx\r\nyyy\r\n--b\r\n\r\nnew\r\n", 100);
  const auto warn = kind(Decision::Kind::warn);
  CHECK(outcome.findings == std::vector<std::string>{"body --b" + warn, "body 123456789" + warn, "body new" + warn});
}

TEST_CASE("inspection: without MIME processing there are no parts", "[checks]") {
  auto plain = rules("static:WARN", "static:IGNORE", "static:IGNORE", "static:INFO");
  plain.structure = false;
  const auto outcome = inspect(plain, {"Content-Type: multipart/mixed; boundary=b"}, "--b\r\nA: b\r\n", 100);
  CHECK(outcome.findings ==
        std::vector<std::string>{"header Content-Type: multipart/mixed; boundary=b" + kind(Decision::Kind::ignore),
                                 "body --b" + kind(Decision::Kind::info), "body A: b" + kind(Decision::Kind::info)});
}
