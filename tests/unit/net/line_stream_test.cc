#include "core/net/line_stream.h"

#include <catch2/catch.hpp>

#include "tests/support/scripted_stream.h"

using namespace millrace;
using namespace millrace::net;
using millrace::test::ScriptedStream;

namespace {

// "text" or "text|bare" or "text|long" per line, in order, and how it ended.
std::string read_all(std::deque<std::string> pieces, std::size_t limit,
                     std::size_t buffer = 16384) {
  LineStream stream(std::make_unique<ScriptedStream>(std::move(pieces)), buffer);
  std::string out;
  for (;;) {
    const auto line = stream.read_line(limit, Deadline::never());
    if (!line) return out + (line.error().code == Errc::closed ? "." : "!");
    out += std::string(line->text) + (line->bare_lf ? "|bare" : "") +
           (line->too_long ? "|long" : "") + "\n";
  }
}

}  // namespace

TEST_CASE("net lines: ends, limits and what is cut", "[net][lines]") {
  struct Case {
    std::string input, expected;
  };
  const auto c = GENERATE(values<Case>({
      {"a\r\nb\nc\r\n", "a\nb|bare\nc\n."},
      {"\r\n\n\r\r\n", "\n|bare\n\r\n."},
      {"12345678\r\n", "12345678\n."},
      {"123456789\r\nx\r\n", "12345678|long\nx\n."},
      {"12345678\r9\r\nx\n", "12345678|long\nx|bare\n."},
      {"1234567890123456789012345\nx\r\n", "12345678|bare|long\nx\n."},
      {"1234567890123456789012345\r\n\r\n", "12345678|long\n\n."},
      {"no end", "."},
      {"12345678\r", "."},
      {"a very long one without an end", "."},
  }));
  CAPTURE(c.input);
  CHECK(read_all({c.input}, 8) == c.expected);
  for (std::size_t cut = 1; cut < c.input.size(); ++cut) {
    CAPTURE(cut);
    CHECK(read_all({c.input.substr(0, cut), c.input.substr(cut)}, 8) == c.expected);
  }
  std::deque<std::string> bytes;
  for (const char byte : c.input) bytes.emplace_back(1, byte);
  CHECK(read_all(bytes, 8) == c.expected);
}

TEST_CASE("net lines: a line may be longer than the buffer", "[net][lines]") {
  const std::string big(40000, 'x');
  CHECK(read_all({big + "\r\n", "y\r\n"}, 50000, 1024) == big + "\ny\n.");
  CHECK(read_all({std::string(5000000, 'x') + "\r\ny\r\n"}, 100, 1024) ==
        big.substr(0, 100) + "|long\ny\n.");
}

TEST_CASE("net lines: replies are held while a complete command is buffered", "[net][lines]") {
  std::string sent;
  auto script =
      std::make_unique<ScriptedStream>(std::deque<std::string>{"A\r\nB\r\nC", "\r\nD\r\n"}, &sent);
  script->marks = true;
  LineStream stream(std::move(script));
  while (stream.read_line(100, Deadline::never())) stream.write("ok\r\n");
  CHECK(sent == "<read>ok\r\nok\r\n<read>ok\r\nok\r\n<read>");
}

TEST_CASE("net lines: held replies are bounded", "[net][lines]") {
  std::string sent, commands;
  for (int i = 0; i < 2000; ++i) commands += "E\r\n";
  LineStream stream(std::make_unique<ScriptedStream>(std::deque<std::string>{commands}, &sent));
  while (stream.read_line(100, Deadline::never())) {
    stream.write(std::string(1000, 'r'));
    CHECK(stream.pending_output() < 67000);
  }
  CHECK(sent.size() == 2000000);
}

TEST_CASE("net lines: a failed write ends reading", "[net][lines]") {
  auto script = std::make_unique<ScriptedStream>(std::deque<std::string>{"A\r\n", "B\r\n"});
  script->writes_left = 0;
  LineStream stream(std::move(script));
  CHECK(stream.read_line(100, Deadline::never()));
  stream.write("ok\r\n");
  CHECK_FALSE(stream.read_line(100, Deadline::never()));
  CHECK(stream.pending_output() == 0);
}

TEST_CASE("net lines: bulk data after a line, and discarding", "[net][lines]") {
  LineStream stream(std::make_unique<ScriptedStream>(
      std::deque<std::string>{"BDAT 6\r\nabc", "def", "STARTTLS\r\nRSET\r\n", "hello"}));
  CHECK(stream.read_line(100, Deadline::never())->text == "BDAT 6");
  CHECK(*stream.read_some(Deadline::never()) == "abc");
  stream.consume(1);
  CHECK(stream.buffered() == "bc");
  stream.consume(2);
  CHECK(*stream.read_some(Deadline::never()) == "def");
  stream.consume(3);
  CHECK(stream.read_line(100, Deadline::never())->text == "STARTTLS");
  CHECK(stream.line_buffered());
  stream.discard_input();
  CHECK_FALSE(stream.line_buffered());
  stream.release_buffer();
  CHECK(*stream.read_some(Deadline::never()) == "hello");
}
