#include "core/checks/mime_walker.h"

#include <catch2/catch.hpp>

using namespace millrace::checks;

namespace {

// Writes events down: "mime Content-Type: x", "nested Subject: y", "body z".
class Recorder : public MimeWalker::Handler {
 public:
  void part_header(HeaderClass header_class, std::string_view text, std::uint64_t offset, std::uint64_t length) override {
    events.push_back((header_class == HeaderClass::mime ? "mime " : "nested ") + std::string(text));
    total += length;
    CHECK(offset + length <= size);
  }
  void body_line(std::string_view line, std::uint64_t offset, std::uint64_t length, bool) override {
    events.push_back("body " + std::string(line));
    total += length;
    CHECK(offset + length <= size);
  }
  std::vector<std::string> events;
  std::uint64_t total = 0, size = 0;
};

std::vector<std::string> walk(std::string_view content_type, std::string_view body, std::size_t step, Limits limits = {}) {
  Recorder recorder;
  recorder.size = body.size();
  MimeWalker walker(limits, true, recorder);
  walker.header("Content-Type", content_type);
  walker.end_of_headers();
  for (std::size_t at = 0; at < body.size(); at += step) walker.body(body.substr(at, step));
  walker.finish();
  return recorder.events;
}

const char kMessage[] =
    "preamble\r\n"
    "--b1\r\n"
    "Content-Type: text/plain;\r\n\tname=\"a\"\r\n"
    "X-Part: 2\r\n"
    "\r\n"
    "text\r\n"
    "--b1\r\n"
    "Content-Type: message/rfc822\r\n"
    "\r\n"
    "Subject: inner\r\n"
    "Content-Type: multipart/mixed; boundary=in\r\n"
    "\r\n"
    "--in\r\n"
    "\r\n"
    "deep\r\n"
    "--in--\r\n"
    "--b1--\r\n"
    "epilogue\r\n";

const std::vector<std::string> kEvents = {
    "body preamble", "body --b1", "mime Content-Type: text/plain;\n\tname=\"a\"", "mime X-Part: 2", "body text", "body --b1",
    "mime Content-Type: message/rfc822", "nested Subject: inner", "mime Content-Type: multipart/mixed; boundary=in",
    "body --in", "body deep", "body --in--", "body --b1--", "body epilogue"};

}  // namespace

TEST_CASE("mime walker: parts, nested messages and body, at any split", "[checks][mime]") {
  for (std::size_t step = 1; step <= sizeof kMessage; ++step) {
    CAPTURE(step);
    CHECK(walk("multipart/mixed; boundary=\"b1\"", kMessage, step) == kEvents);
  }
}

TEST_CASE("mime walker: without a usable structure all is body", "[checks][mime]") {
  const std::vector<std::string> expected = {"body --b1", "body A: b"};
  for (const char* type : {"text/plain", "multipart/mixed", "multipart/mixed; boundary=", "multipart", "", "multipart/mixed; boundary=other"}) {
    CAPTURE(type);
    CHECK(walk(type, "--b1\r\nA: b\r\n", 7) == expected);
  }
}

TEST_CASE("mime walker: odd Content-Type syntax still gives the boundary", "[checks][mime]") {
  for (const char* type : {"multipart/mixed; x=y; boundary=b1", "Multipart (c) / mixed ; (c(d)) BOUNDARY = \"b1\"",
                           "multipart/mixed; charset=\"a;b\"; boundary=\"b\\1\"", "multipart/mixed; junk; boundary=b1"}) {
    CAPTURE(type);
    CHECK(walk(type, "--b1\r\nA: b\r\n", 100) == std::vector<std::string>{"body --b1", "mime A: b"});
  }
}

TEST_CASE("mime walker: nesting is bounded", "[checks][mime]") {
  std::string body;
  for (int i = 0; i < 10; ++i) body += "Content-Type: message/rfc822\r\n\r\n";
  Recorder recorder;
  recorder.size = body.size();
  Limits limits;
  limits.nesting = 3;
  MimeWalker walker(limits, true, recorder);
  walker.header("Content-Type", "multipart/mixed; boundary=x");
  walker.end_of_headers();
  std::string parts;
  for (int i = 0; i < 10; ++i) parts += "--" + std::string(1, i == 0 ? 'x' : static_cast<char>('a' + i)) +
                                        "\r\nContent-Type: multipart/mixed; boundary=" + static_cast<char>('b' + i) + "\r\n\r\n";
  recorder.size = parts.size();
  walker.body(parts);
  walker.finish();
  CHECK(walker.nested_too_deep());
}

TEST_CASE("mime walker: long lines come in pieces, alike at any split", "[checks][mime]") {
  Limits limits;
  limits.line_length = 10;
  const std::string body = std::string(35, 'x') + "\r\nshort\r\n";
  const auto whole = walk("text/plain", body, body.size(), limits);
  for (std::size_t step = 1; step < body.size(); ++step) {
    CAPTURE(step);
    CHECK(walk("text/plain", body, step, limits) == whole);
  }
  CHECK(whole.size() == 5);
}
