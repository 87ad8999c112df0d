#include "core/deliver/header_editor.h"

#include <catch2/catch.hpp>

#include <vector>

using namespace millrace;
using deliver::HeaderEditor;

namespace {
// Fields seen, and the text in pieces of `step`.
std::string run(const std::string& text, std::size_t step, std::vector<std::string>* fields, std::size_t limit = 1000) {
  HeaderEditor editor([&](std::string& field) -> Result<void> {
    fields->push_back(field);
    if (field.starts_with("Bad")) return fail(Errc::temporary, "bad");
    if (field.starts_with("To:")) field.replace(0, 3, "To: <edited>");
    return {};
  }, limit);
  std::string out;
  for (std::size_t at = 0; at < text.size(); at += step) {
    if (!editor.feed(std::string_view(text).substr(at, step), out)) return "(error)";
  }
  return editor.finish(out) ? out : "(error)";
}
}  // namespace

TEST_CASE("header editor: any split gives the same fields and text", "[deliver][header]") {
  const std::string text = "From: a\r\nTo: b,\r\n c\r\nX: \r\n\td\r\n\r\nTo: body\r\n\r\nTo: x";
  const std::vector<std::string> expected = {"From: a\r\n", "To: b,\r\n c\r\n", "X: \r\n\td\r\n"};
  for (std::size_t step = 1; step <= text.size(); ++step) {
    CAPTURE(step);
    std::vector<std::string> fields;
    CHECK(run(text, step, &fields) ==
          "From: a\r\nTo: <edited> b,\r\n c\r\nX: \r\n\td\r\n\r\nTo: body\r\n\r\nTo: x");
    CHECK(fields == expected);
  }
}

TEST_CASE("header editor: no headers, no body, no end of line", "[deliver][header]") {
  std::vector<std::string> fields;
  CHECK(run("\r\nTo: x\r\n", 3, &fields) == "\r\nTo: x\r\n");
  CHECK(fields.empty());
  CHECK(run("To: x", 2, &fields) == "To: <edited> x");
  CHECK(run("To: x\r\n", 2, &fields) == "To: <edited> x\r\n");
  CHECK(run("", 1, &fields).empty());
}

TEST_CASE("header editor: fields over the limit pass whole, the next is edited again", "[deliver][header]") {
  const std::string text = "To: " + std::string(50, 'x') + "\r\n more\r\nTo: b\r\n\r\nbody";
  for (std::size_t step : {1, 7, 1000}) {
    std::vector<std::string> fields;
    CHECK(run(text, step, &fields, 20) == "To: " + std::string(50, 'x') + "\r\n more\r\nTo: <edited> b\r\n\r\nbody");
    CHECK(fields == std::vector<std::string>{"To: b\r\n"});
  }
}

TEST_CASE("header editor: an edit that fails is an error", "[deliver][header]") {
  std::vector<std::string> fields;
  CHECK(run("Bad: x\r\n\r\n", 4, &fields) == "(error)");
  CHECK(run("Bad: x", 4, &fields) == "(error)");
}
