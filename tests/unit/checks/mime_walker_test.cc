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
  void body_line(std::string_view line, std::uint64_t offset, std::uint64_t length, bool, bool) override {
    if (!line.empty()) events.push_back("body " + std::string(line));
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
  walker.header("Content-Type", "Content-Type", content_type);
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
  walker.header("Content-Type", "Content-Type", "multipart/mixed; boundary=x");
  walker.end_of_headers();
  std::string parts;
  for (int i = 0; i < 10; ++i) parts += "--" + std::string(1, i == 0 ? 'x' : static_cast<char>('a' + i)) +
                                        "\r\nContent-Type: multipart/mixed; boundary=" + static_cast<char>('b' + i) + "\r\n\r\n";
  recorder.size = parts.size();
  walker.body(parts);
  walker.finish();
  CHECK(walker.faults() == kNestingFault);
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

// The rows are what Postfix 3.7 logged for the same messages with a WARN rule for each class.
TEST_CASE("mime walker: structure as Postfix sees it", "[checks][mime]") {
  using Events = std::vector<std::string>;
  CHECK(walk("multipart/digest; boundary=d",
             "--d\r\n\r\nN: 1\r\nContent-ID: c\r\n\r\ninner\r\n--d\r\nContent-Type: text/plain\r\n\r\nX: 1\r\n--d--\r\nE: 1\r\n", 5) ==
        Events{"body --d", "nested N: 1", "mime Content-ID: c", "body inner", "body --d", "mime Content-Type: text/plain",
               "body X: 1", "body --d--", "body E: 1"});
  CHECK(walk("message/global", "N: 2\r\n", 3) == Events{"nested N: 2"});
  CHECK(walk("message/partial", "N: 3\r\n", 3) == Events{"body N: 3"});
  CHECK(walk("multipart/mixed; boundary=\"b\"", "--b: junk\r\nP: 4\r\n\r\n--bx\r\n\xc3\xa9: x\r\nP: 5\r\n--b--: y\r\nP: 6\r\n", 4) ==
        Events{"body --b: junk", "mime P: 4", "body --bx", "body \xc3\xa9: x", "body P: 5", "body --b--: y", "body P: 6"});
  // A line of a header section that can be a header is one, whatever it begins with.
  CHECK(walk("multipart/mixed; boundary=in", "--in\r\nP: 7\r\n--in--: z\r\nB: 7\r\n", 100) ==
        Events{"body --in", "mime P: 7", "mime --in--: z", "mime B: 7"});
  CHECK(walk("multipart/mixed; boundary=a", "--a\r\nP: 8\r\njunk\r\nP: 9\r\n--a\r\nP: 10\r\n--a\r\nQ: 1\r\n", 100) ==
        Events{"body --a", "mime P: 8", "body junk", "body P: 9", "body --a", "mime P: 10", "body --a", "mime Q: 1"});
  CHECK(walk("multipart/mixed; boundary=\"sp ace \"", "--sp ace \r\nP: 16\r\n", 100) == Events{"body --sp ace ", "mime P: 16"});
}

TEST_CASE("mime walker: a second Content-Type does not hide the parts of the first", "[checks][mime]") {
  const std::string body = "--a\r\nP: 15\r\n";
  Recorder recorder;
  recorder.size = body.size();
  MimeWalker walker({}, true, recorder);
  walker.header("Content-Type", "Content-Type", "multipart/mixed; boundary=a");
  walker.header("Content-Type", "Content-Type", "text/plain");
  walker.end_of_headers();
  walker.body(body);
  walker.finish();
  CHECK(recorder.events == std::vector<std::string>{"body --a", "mime P: 15"});
}

TEST_CASE("mime walker: a line without an end is given on as it comes", "[checks][mime]") {
  Recorder recorder;
  recorder.size = 64 * 1000;
  MimeWalker walker({}, true, recorder);
  walker.end_of_headers();
  const std::string chunk(1000, 'x');
  for (int i = 0; i < 64; ++i) walker.body(chunk);
  const std::size_t seen = recorder.events.size();
  CHECK(seen == 64 * 1000 / 2048);
  // Large chunks too: what is kept back is less than two lines.
  Recorder large;
  large.size = 1'000'000;
  MimeWalker other({}, true, large);
  other.end_of_headers();
  for (int i = 0; i < 10; ++i) other.body(std::string(100'000, 'x'));
  CHECK(1'000'000 - large.total < 2 * 2048);
}
