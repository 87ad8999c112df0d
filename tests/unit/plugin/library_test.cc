// The door: what is loaded, and what is turned away.
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <sys/stat.h>

#include "core/plugin/library.h"

using namespace millrace;
using plugin::Library;
namespace fs = std::filesystem;

namespace {

struct Directory {
  Directory() {
    char name[] = "/tmp/pluginsXXXXXX";
    path = mkdtemp(name);
  }
  ~Directory() { fs::remove_all(path); }
  std::string put(const std::string& name, mode_t mode) {
    const std::string file = path + "/" + name + ".so";
    fs::copy_file(PLUGIN_BUILD_DIRECTORY "/sample.so", file);
    chmod(file.c_str(), mode);
    return file;
  }
  std::string path;
};

std::string why(const Result<std::shared_ptr<const Library>>& result) { return result ? "loaded" : result.error().context; }
bool has(const std::string& text, std::string_view part) { return text.find(part) != text.npos; }

mr_descriptor good_descriptor() {
  mr_descriptor d{};
  d.struct_size = sizeof d;
  d.stages = MR_STAGE_RCPT;
  d.id = "x";
  d.version = "1";
  d.summary = "s";
  return d;
}
mr_descriptor descriptor;
mr_entry good_entry() {
  return {sizeof(mr_entry), MR_ABI_MAJOR, MR_ABI_MINOR, MR_ABI_DRAFT, 1, 0, "0", "t",
          [](std::uint32_t) -> const mr_descriptor* { return &descriptor; },
          [](const mr_host*, const char*) -> mr_filter* { return nullptr; }};
}

}  // namespace

TEST_CASE("plugin library: owner and mode decide before anything is run", "[plugin]") {
  Directory dir;
  dir.put("good", 0644);
  dir.put("group", 0664);
  dir.put("world", 0646);
  CHECK(why(Library::open(dir.path, "good")) == "loaded");
  CHECK(has(why(Library::open(dir.path, "group")), "group.so is writable by group or others"));
  CHECK(has(why(Library::open(dir.path, "world")), "is writable by group or others"));
  CHECK(has(why(Library::open(dir.path, "absent")), "No such file"));
  CHECK(has(why(Library::open(dir.path, "../good")), "is no name of a plugin"));
  CHECK(has(why(Library::open(dir.path, "")), "is no name of a plugin"));
  fs::create_directory(dir.path + "/dir.so");
  CHECK(has(why(Library::open(dir.path, "dir")), "is not a regular file"));
  std::ofstream(dir.path + "/text.so") << "no object";
  CHECK(has(why(Library::open(dir.path, "text")), "text.so: "));
  if (geteuid() == 0) {
    REQUIRE(chown((dir.path + "/good.so").c_str(), 12345, 12345) == 0);
    CHECK(has(why(Library::open(dir.path, "good")), "is not owned by root"));
    REQUIRE(chown((dir.path + "/good.so").c_str(), 0, 0) == 0);
  }
  chmod(dir.path.c_str(), 0777);
  CHECK(has(why(Library::open(dir.path, "good")), "is writable by group or others"));
  chmod(dir.path.c_str(), 0755);
  CHECK(plugin::plugin_names(dir.path).value() == std::vector<std::string>{"dir", "good", "group", "text", "world"});
}

TEST_CASE("plugin library: entries and descriptors that make no sense", "[plugin]") {
  descriptor = good_descriptor();
  mr_entry entry = good_entry();
  const auto refused = [&] { return !Library::from_entry("t", &entry); };
  CHECK_FALSE(refused());
  CHECK_FALSE(Library::from_entry("t", nullptr));
  entry.abi_major = 2;
  CHECK(has(why(Library::from_entry("t", &entry)), "built for plugin ABI 2 draft"));
  entry = good_entry();
  entry.abi_draft = MR_ABI_DRAFT + 1;
  CHECK(refused());
  entry = good_entry();
  entry.struct_size = 12;
  CHECK(refused());
  entry = good_entry();
  entry.struct_size = 40;
  CHECK(refused());
  entry = good_entry();
  entry.count = 0;
  CHECK(refused());
  entry.count = 1000;
  CHECK(refused());
  entry.count = 2;   // the same id twice
  CHECK(refused());
  entry = good_entry();
  entry.describe = [](std::uint32_t) -> const mr_descriptor* { return nullptr; };
  CHECK(refused());
  entry = good_entry();
  const auto with = [&](auto change) {
    descriptor = good_descriptor();
    change(descriptor);
    const bool is_refused = refused();
    descriptor = good_descriptor();
    return is_refused;
  };
  CHECK(with([](mr_descriptor& d) { d.struct_size = 40; }));
  CHECK(with([](mr_descriptor& d) { d.stages = 0; }));
  CHECK(with([](mr_descriptor& d) { d.stages = 1u << 20; }));
  CHECK(with([](mr_descriptor& d) { d.edits = MR_EDIT_BODY; }));
  CHECK(with([](mr_descriptor& d) { d.traits = 1u << 30; }));
  CHECK(with([](mr_descriptor& d) { d.id = nullptr; }));
  CHECK(with([](mr_descriptor& d) { d.id = "../x"; }));
  CHECK(with([](mr_descriptor& d) { d.version = nullptr; }));
  CHECK(with([](mr_descriptor& d) { d.status = 9; }));
  CHECK_FALSE(with([](mr_descriptor&) {}));
}
