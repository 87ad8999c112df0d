// plugin_private_files: what is read, and what is refused.
#include <catch2/catch.hpp>
#include <sys/stat.h>
#include <unistd.h>

#include "core/daemon/private_files.h"
#include "tests/support/temporary_directory.h"

using namespace millrace;

TEST_CASE("private files: patterns, modes", "[daemon]") {
  const test::TemporaryDirectory directory;
  const std::string a = directory.write("a.private", "one"), b = directory.write("b.private", "two"), c = directory.write("c.txt", "three");
  for (const std::string& file : {a, b}) ::chmod(file.c_str(), 0600);
  ::chmod(c.c_str(), 0640);
  const std::string all = directory.path() + "/*.private";
  const auto read = daemon::read_private_files(all + ", " + a);
  REQUIRE(read);
  CHECK(**read == std::map<std::string, std::string>{{a, "one"}, {b, "two"}});
  CHECK((*daemon::read_private_files(""))->empty());
  const auto problem = [](const std::string& patterns) {
    const auto result = daemon::read_private_files(patterns);
    return result ? std::string() : result.error().context;
  };
  CHECK(problem(c) == c + ": others than its owner may read or write it: set its mode to 0600");
  CHECK(problem(directory.path() + "/none.*") == directory.path() + "/none.*: no such file");
  CHECK(problem("relative.private") == "relative.private: no path from the root");
  CHECK(problem(directory.path()) == directory.path() + ": is no regular file");
  ::chmod(c.c_str(), 0600);
  REQUIRE(::truncate(c.c_str(), 64 * 1024 + 1) == 0);
  CHECK(problem(c) == c + ": is too large");
}
