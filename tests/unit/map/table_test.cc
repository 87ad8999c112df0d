#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "core/map/build.h"
#include "core/map/table.h"
#include "tests/support/temporary_directory.h"

using namespace millrace;

namespace {
std::string find(map::Table& table, std::string_view key) {
  const auto value = table.find(key);
  return !value ? "(error)" : *value ? **value : "(none)";
}
}  // namespace

TEST_CASE("table set: what cannot be opened is named", "[map][table]") {
  const test::TemporaryDirectory directory;
  map::TableSet tables({directory.path(), {}});
  const auto why = [&](std::string_view name) {
    const auto table = tables.open(name);
    REQUIRE_FALSE(table);
    CHECK(table.error().code == Errc::config);
    return table.error().context;
  };
  CHECK(why("foo:bar") == "unsupported dictionary type: foo");
  CHECK(why("nis:mail.aliases") ==
        "\"nis:mail.aliases\": tables of type nis are not supported: they will be plugins; socketmap: can stand for them");
  CHECK(why("proxy:mysql:/x") ==
        "\"mysql:/x\": tables of type mysql are not supported: they will be plugins; socketmap: can stand for them");
  CHECK(why("plain") == "expecting \"type:name\" form instead of \"plain\"");
  CHECK(why("static:") == "expecting \"type:name\" form instead of \"static:\"");
  CHECK(why("pcre:none") == "open " + directory.path() + "/none: No such file or directory");
  CHECK(why("hash:none") == "open database " + directory.path() + "/none.lmdb: no such file, and no " +
                                directory.path() + "/none either");
  CHECK(why("inline:{}") == "empty table; need \"inline:{name=value...}\"");
  CHECK(why("inline:{{a b = c}}") == "missing '=' after attribute name: \"a b = c\"; need \"inline:{name=value...}\"");
  CHECK(why("static:{a}b") == "bad static:name syntax: syntax error after '}' in \"{a}b\"");
  CHECK(why("pcre:{/a/ b}") == "pcre map: no '{' at start of text in \"/a/\"");
  directory.write("x.lmdb", std::string(9000, 'x'));
  CHECK(why("hash:x").find("x.lmdb: MDB_INVALID") != std::string::npos);
  CHECK(map::type_status("nis") == map::TypeStatus::elsewhere);
  CHECK(map::type_status("hash") == map::TypeStatus::supported);
  CHECK(map::type_status("no") == map::TypeStatus::unknown);
}

TEST_CASE("table set: a table is opened once", "[map][table]") {
  map::TableSet tables({});
  CHECK(tables.open("inline:{a=1}").value() == tables.open(" inline:{a=1}").value());
}

TEST_CASE("hash: FILE.lmdb before the text, and a new one is seen", "[map][table]") {
  const test::TemporaryDirectory directory;
  std::string warnings;
  const auto warn = [&](const std::string& text) { warnings += text + "\n"; };
  const std::string path = directory.write("t", "Key old\nkey second\nbad\n");
  map::TableSet tables({directory.path(), warn});
  const auto table = tables.open("hash:t").value();
  CHECK(find(*table, "KEY") == "old");
  CHECK(warnings == path + ", line 2: duplicate entry: \"key\"\n" + path +
                        ", line 3: expected format: key whitespace value -- ignoring this line\n");
  map::BuildOptions options;
  directory.write("t", "key new\nother x\n");
  tables.refresh();
  CHECK(find(*table, "key") == "old");   // the text is read at start only
  REQUIRE(map::build_lmdb(path, options));
  CHECK(find(*table, "key") == "old");
  tables.refresh();
  CHECK(find(*table, "Key") == "new");
  CHECK(find(*table, "other") == "x");
  CHECK(find(*table, "") == "(none)");
  CHECK(find(*table, std::string(600, 'k')) == "(none)");

  directory.write("t", "key newest\n");
  REQUIRE(map::build_lmdb(path, options));
  tables.refresh();
  CHECK(find(*table, "key") == "newest");
  CHECK(find(*table, "other") == "(none)");

  // A damaged file, or none, leaves the old table in use; it is said once.
  warnings.clear();
  directory.write("junk", std::string(9000, 'x'));
  std::filesystem::rename(directory.path() + "/junk", path + ".lmdb");
  tables.refresh();
  tables.refresh();
  CHECK(find(*table, "key") == "newest");
  CHECK(warnings == "hash:t: open database " + path +
                        ".lmdb: MDB_INVALID: File is not an LMDB file: keeping the old table\n");
  std::filesystem::remove(path + ".lmdb");
  tables.refresh();
  CHECK(find(*table, "key") == "newest");
}

TEST_CASE("hash: a table older than its source is warned about", "[map][table]") {
  const test::TemporaryDirectory directory;
  const std::string path = directory.write("t", "a b\n");
  REQUIRE(map::build_lmdb(path, {}));
  std::filesystem::last_write_time(path, std::filesystem::last_write_time(path) + std::chrono::seconds(5));
  std::string warnings;
  map::TableSet tables({directory.path(), [&](const std::string& text) { warnings += text; }});
  REQUIRE(tables.open("lmdb:t"));
  CHECK(warnings == "database " + path + ".lmdb is older than source file " + path);
}

TEST_CASE("fail: is an error each time", "[map][table]") {
  map::TableSet tables({});
  CHECK(find(*tables.open("fail:x").value(), "a") == "(error)");
}

TEST_CASE("unionmap and pipemap: tables made of tables", "[map][table]") {
  map::TableSet tables({"", {}});
  const auto ask = [&](std::string_view name, std::string_view key) {
    const auto table = tables.open(name);
    REQUIRE(table);
    return find(**table, key);
  };
  CHECK(ask("unionmap:{static:x, inline:{ a=1, b=2 }, inline:{ a=one }}", "a") == "x,1,one");
  CHECK(ask("unionmap:{inline:{ a=1 }, inline:{ b=2 }}", "b") == "2");
  CHECK(ask("unionmap:{inline:{ a=1 }, inline:{ b=2 }}", "c") == "(none)");
  CHECK(ask("unionmap:{inline:{ a=1 }, fail:x}", "a") == "(error)");
  CHECK(ask("pipemap:{inline:{ a=b }, inline:{ b=c }}", "a") == "c");
  CHECK(ask("pipemap:{inline:{ a=b }, inline:{ b=c }}", "b") == "(none)");
  CHECK(ask("pipemap:{inline:{ a=b }, fail:x}", "a") == "(error)");
  CHECK(ask("pipemap:{inline:{ a=b }, fail:x}", "z") == "(none)");
  CHECK(ask("unionmap:{pipemap:{inline:{ a=b }, static:deep}, static:y}", "a") == "deep,y");
  CHECK((*tables.open("unionmap:{static:x, cidr:{{0.0.0.0/0 y}}}"))->is_pattern());
  CHECK_FALSE((*tables.open("unionmap:{static:x, inline:{ a=1 }}"))->is_pattern());
  for (const char* bad : {"unionmap:static:x", "pipemap:{}", "pipemap:{inline}", "unionmap:{nosuch:x}", "unionmap:{static:}"}) {
    CHECK_FALSE(tables.open(bad));
  }
}
