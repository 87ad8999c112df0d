#include <sys/stat.h>

#include <catch2/catch.hpp>

#include "core/map/build.h"
#include "core/map/lmdb_file.h"
#include "tests/support/temporary_directory.h"

using namespace millrace;

TEST_CASE("build: what postmap makes of odd lines", "[map][build]") {
  std::string warnings;
  map::BuildOptions options;
  options.warn = [&](const std::string& text) { warnings += text + "\n"; };
  const auto entries = map::parse_source(" leading 1\nA 1\na 2\nalias: 3\n\xe9 4\n\"\" 5\n", "t", options);
  CHECK(entries == std::map<std::string, std::string>{{"a", "1"}, {"alias:", "3"}, {"\"\"", "5"}});
  CHECK(warnings ==
        "t, line 1: logical line must not start with whitespace -- ignoring this line\n"
        "t, line 3: duplicate entry: \"a\"\n"
        "t, line 4: record is in \"key: value\" format; is this an alias file?\n"
        "t, line 5: non-UTF-8 input \"? 4\" -- ignoring this line\n");
  options.duplicates = map::BuildOptions::Duplicates::replace;
  CHECK(map::parse_source("a 1\nA 2\n", "t", options).at("a") == "2");
}

TEST_CASE("build: many entries, whole or not at all", "[map][build]") {
  const test::TemporaryDirectory directory;
  std::string text;
  for (int i = 0; i < 50000; ++i) text += "user" + std::to_string(i) + "@dest.example value" + std::to_string(i) + "\n";
  const std::string path = directory.write("t", text);
  chmod(path.c_str(), 0640);
  REQUIRE(map::build_lmdb(path, {}));
  struct stat status;
  REQUIRE(stat((path + ".lmdb").c_str(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0640);
  auto file = map::LmdbFile::open(path + ".lmdb");
  REQUIRE(file);
  CHECK((*file)->get("user49999@dest.example").value() == "value49999");
  CHECK((*file)->get("user50000@dest.example").value() == std::nullopt);

  directory.write("t", std::string(511, 'k') + " v\n");
  const auto refused = map::build_lmdb(path, {});
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Errc::config);
  CHECK((*file)->get("user1@dest.example").value() == "value1");
  std::size_t files = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(directory.path())) ++files;
  CHECK(files == 2);
  CHECK(map::build_lmdb(directory.path() + "/none", {}).error().code == Errc::config);
}
