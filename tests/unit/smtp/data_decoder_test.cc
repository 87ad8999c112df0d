#include "core/smtp/data_decoder.h"

#include <catch2/catch.hpp>

using namespace millrace::smtp;
using Form = DataDecoder::Form;
using LineEnds = DataDecoder::LineEnds;

namespace {
// "decoded|rest", "?" in place of "|" when no end was found; fed in pieces of `step`.
std::string run(std::string_view in, LineEnds ends, std::size_t step, Form form = Form::data) {
  DataDecoder decoder(form, ends, ' ');
  std::string out;
  for (std::size_t at = 0; at < in.size();) {
    const std::string_view piece = in.substr(at, step);
    const auto decoded = decoder.decode(piece, out);
    at += decoded.consumed;
    if (decoded.end) return out + "|" + std::string(in.substr(at));
    REQUIRE(decoded.consumed == piece.size());
  }
  if (form == Form::chunks) decoder.finish(out);
  return out + "?";
}
}  // namespace

TEST_CASE("smtp data: any split gives the same, as Postfix decodes", "[smtp][data]") {
  struct Case { const char *in, *lenient, *strict; };
  const Case row = GENERATE(values<Case>({
      {"a\r\n.\r\nNOOP\r\n", "a\r\n|NOOP\r\n", "a\r\n|NOOP\r\n"},
      {".\r\n", "|", "|"},
      {"..\r\n.x\r\n...\r\n.\r\n", ".\r\nx\r\n..\r\n|", ".\r\nx\r\n..\r\n|"},
      {"one\n.\nMAIL\r\n.\r\n", "one\r\n|MAIL\r\n.\r\n", "one\r\nMAIL\r\n|"},
      {"one\n.\r\ntwo\r\n.\r\n", "one\r\n|two\r\n.\r\n", "one\r\ntwo\r\n|"},
      {"one\r\n.\ntwo\r\n.\r\n", "one\r\n|two\r\n.\r\n", "one\r\ntwo\r\n|"},
      {"one\r.\rtwo\r\r\nthree\r\n.\r\n", "one . two\r\nthree\r\n|", "one . two \r\nthree\r\n|"},
      {"x\n\n.dot\n..dots\nx\n.\n", "x\r\n\r\ndot\r\n.dots\r\nx\r\n|", "x\r\n\r\ndot\r\n.dots\r\nx\r\n?"},
      {"a\r\n.\r\r\nb\r\n.\r\n", "a\r\n|b\r\n.\r\n", "a\r\n \r\nb\r\n|"},
      {"\r.\r\n.\r\n", " .\r\n|", " .\r\n|"},
      {"a\r\n.\rb\r\n.\r\n", "a\r\n b\r\n|", "a\r\n b\r\n|"},
      {"a", "a?", "a?"},
  }));
  for (std::size_t step = 1; step <= 12; ++step) {
    CAPTURE(row.in, step);
    CHECK(run(row.in, LineEnds::lenient, step) == row.lenient);
    CHECK(run(row.in, LineEnds::strict, step) == row.strict);
  }
}

TEST_CASE("smtp data: chunks keep dots and get a last line end", "[smtp][data]") {
  for (std::size_t step = 1; step <= 8; ++step) {
    CAPTURE(step);
    CHECK(run(".\r\n.dotted\r\nhalf", LineEnds::strict, step, Form::chunks) == ".\r\n.dotted\r\nhalf\r\n?");
    CHECK(run("a\n\r\n", LineEnds::lenient, step, Form::chunks) == "a\r\n\r\n?");
    CHECK(run("a\r", LineEnds::lenient, step, Form::chunks) == "a\r\n?");
  }
}

TEST_CASE("smtp data: bare newlines are noticed", "[smtp][data]") {
  DataDecoder decoder(Form::data, LineEnds::strict, ' ');
  std::string out;
  decoder.decode("a\r\n", out);
  CHECK_FALSE(decoder.saw_bare_newline());
  decoder.decode("b\n", out);
  CHECK(decoder.saw_bare_newline());
}
