#include "core/deliver/data_encoder.h"

#include <catch2/catch.hpp>

using millrace::deliver::DataEncoder;

namespace {
std::string wire(std::string_view text, std::size_t limit = 0, std::size_t step = 1000000) {
  DataEncoder encoder(limit);
  std::string out;
  for (std::size_t at = 0; at < text.size(); at += step) encoder.encode(text.substr(at, step), out);
  encoder.finish(out);
  return out;
}
}  // namespace

TEST_CASE("deliver data: dots are stuffed, the end is written once", "[deliver][data]") {
  CHECK(wire("") == ".\r\n");
  CHECK(wire("a\r\n") == "a\r\n.\r\n");
  CHECK(wire("a") == "a\r\n.\r\n");
  CHECK(wire(".\r\n") == "..\r\n.\r\n");
  CHECK(wire("a\r\n.\r\n.b\r\n..\r\n") == "a\r\n..\r\n..b\r\n...\r\n.\r\n");
}

TEST_CASE("deliver data: stray CR and LF become spaces, so nothing can end early", "[deliver][data]") {
  CHECK(wire("a\n.\nb\r\n") == "a . b\r\n.\r\n");
  CHECK(wire("a\r.\rb\r\n") == "a . b\r\n.\r\n");
  CHECK(wire("a\r\r\n.\r\n") == "a \r\n..\r\n.\r\n");
  CHECK(wire("a\r") == "a \r\n.\r\n");
  CHECK(wire("\n.\r\n") == " .\r\n.\r\n");
}

TEST_CASE("deliver data: long lines are folded as Postfix does", "[deliver][data]") {
  const std::string x(998, 'x');
  CHECK(wire(x + "\r\n", 998) == x + "\r\n.\r\n");
  CHECK(wire(x + "yz\r\n", 998) == x + "\r\n yz\r\n.\r\n");
  CHECK(wire(x + ".z\r\n", 998) == x + "\r\n .z\r\n.\r\n");
  CHECK(wire(x + x + "\r\n", 998) == x + "\r\n " + x.substr(1) + "\r\n x\r\n.\r\n");
}

TEST_CASE("deliver data: any split gives the same", "[deliver][data]") {
  const std::string text = "one\r\n.two\r\r\n\nthree" + std::string(40, 'x') + "\r\n.\r\n";
  for (std::size_t step = 1; step < 20; ++step) CHECK(wire(text, 16, step) == wire(text, 16));
}
