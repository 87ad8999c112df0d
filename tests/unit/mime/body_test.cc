#include <fcntl.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "core/mime/message.h"

using namespace millrace;
using namespace millrace::mime;

namespace {
std::string all(const Body& body) {
  std::string out;
  REQUIRE(body.for_each([&](std::string_view piece) {
    out += piece;
    return true;
  }));
  return out;
}
}  // namespace

TEST_CASE("mime body: spills past the limit and reads the same", "[mime][body]") {
  const int directory = ::open("/tmp", O_DIRECTORY | O_RDONLY);
  REQUIRE(directory >= 0);
  Body body(directory, 100);
  std::string want;
  for (int i = 0; i < 50; ++i) {
    const std::string piece = std::to_string(i) + " piece\r\n";
    want += piece;
    REQUIRE(body.append(piece));
    CHECK(body.spilled() == (want.size() > 100));
    CHECK(all(body) == want);
  }
  CHECK(body.size() == want.size());
  char out[8];
  REQUIRE(body.read_at(3, out).value() == 8);
  CHECK(std::string_view(out, 8) == want.substr(3, 8));
  CHECK(body.read_at(want.size(), out).value() == 0);
  Body moved(std::move(body));
  CHECK(all(moved) == want);
  CHECK(body.size() == 0);
  ::close(directory);
}

TEST_CASE("mime body: without a directory all stays in memory", "[mime][body]") {
  Body body(-1, 10);
  REQUIRE(body.append(std::string(1000, 'x')));
  CHECK_FALSE(body.spilled());
  CHECK(body.memory().size() == 1000);
}
