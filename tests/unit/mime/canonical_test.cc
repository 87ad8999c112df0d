#include <catch2/catch.hpp>

#include "core/mime/canonical.h"

using millrace::mime::Canonicalizer;

namespace {

std::string canonical(std::string_view text, std::size_t piece) {
  Canonicalizer canonicalizer;
  std::string out;
  for (std::size_t at = 0; at < text.size(); at += piece) canonicalizer.add(text.substr(at, piece), out);
  canonicalizer.finish(out);
  return out;
}

}  // namespace

TEST_CASE("canonical body: only CRLF ends lines, however the bytes are cut", "[mime]") {
  using namespace std::literals;
  struct Case { std::string_view in, out; };
  const auto c = GENERATE(values<Case>({{"", ""},
                                        {"a\r\nb\r\n", "a\r\nb\r\n"},
                                        {"a\nb", "a\r\nb\r\n"},
                                        {"a\rb\r", "a\r\nb\r\n"},
                                        {"\r\r\n\n.\n.\r\n", "\r\n\r\n\r\n.\r\n.\r\n"},
                                        {"a\0b\0\r\0\n"sv, "ab\r\n\r\n"},
                                        {"\n", "\r\n"}}));
  for (std::size_t piece = 1; piece <= c.in.size() + 1; ++piece) CHECK(canonical(c.in, piece) == c.out);
}
