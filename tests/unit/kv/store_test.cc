#include "core/kv/store.h"

#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <fstream>

#include "tests/support/on_loop.h"
#include "tests/support/temporary_directory.h"

using namespace millrace;
using namespace millrace::kv;

namespace {
WallMicros in(long seconds) { return wall_now() + WallMicros{seconds} * 1'000'000; }

struct World {
  test::TemporaryDirectory directory;
  Options options;
  World() { options.directory = directory.path() + "/kv"; }
  std::shared_ptr<Store> open() {
    auto store = Store::open(options);
    REQUIRE(store);
    return *store;
  }
};

std::string get(Store& store, std::string_view key) {
  const auto value = store.get(key);
  REQUIRE(value);
  return value->value_or("(none)");
}
}  // namespace

TEST_CASE("kv: what is set is there until it ends", "[kv]") {
  World w;
  const auto store = w.open();
  CHECK(get(*store, "a") == "(none)");
  REQUIRE(store->set("a", "one", in(60)));
  REQUIRE(store->set("", "empty key", in(60)));
  REQUIRE(store->set("gone", "x", wall_now() + 20'000));
  CHECK(get(*store, "a") == "one");
  CHECK(get(*store, "") == "empty key");
  usleep(30'000);
  CHECK(get(*store, "gone") == "(none)");
  CHECK(*store->sweep() == 2);
  REQUIRE(store->remove("a"));
  REQUIRE(store->remove("a"));
  CHECK(get(*store, "a") == "(none)");
}

TEST_CASE("kv: long keys are told apart, large values refused", "[kv]") {
  World w;
  const auto store = w.open();
  const std::string key(3000, 'k');
  REQUIRE(store->set(key + "1", "one", in(60)));
  REQUIRE(store->set(key + "2", "two", in(60)));
  CHECK(get(*store, key + "1") == "one");
  CHECK(get(*store, key + "2") == "two");
  CHECK(store->set("a", std::string(kMaxValue + 1, 'v'), in(60)).error().code == Errc::too_large);
  CHECK(get(*store, "a") == "(none)");
}

TEST_CASE("kv: counters keep their end, and start anew after it", "[kv]") {
  World w;
  const auto store = w.open();
  CHECK(*store->incr("n", 1, std::chrono::seconds(60)) == 1);
  CHECK(*store->incr("n", 5, std::chrono::seconds(60)) == 6);
  CHECK(*store->expire("n", wall_now() + 20'000));
  CHECK_FALSE(*store->expire("nothing", in(60)));
  usleep(30'000);
  CHECK(*store->incr("n", 1, std::chrono::seconds(60)) == 1);
}

TEST_CASE("kv: what is above the bound goes, the nearest end first", "[kv]") {
  World w;
  w.options.max_entries = 80;
  const auto store = w.open();
  for (int i = 0; i < 100; ++i) REQUIRE(store->set("k" + std::to_string(i), "v", in(1000 + i)));
  CHECK(*store->sweep() <= 80);
  CHECK(get(*store, "k0") == "(none)");
  CHECK(get(*store, "k99") == "v");
}

TEST_CASE("kv: a full map is emptied, not an error", "[kv]") {
  World w;
  w.options.map_bytes = 256 * 1024;
  const auto store = w.open();
  const std::string value(1500, 'v');
  for (int i = 0; i < 500; ++i) REQUIRE(store->set("k" + std::to_string(i), value, in(1000)));
  CHECK(get(*store, "k499") == value);
}

TEST_CASE("kv: it outlives a close, and processes share it", "[kv]") {
  World w;
  {
    const auto store = w.open();
    REQUIRE(store->set("a", "one", in(60)));
  }
  const pid_t child = ::fork();
  if (child == 0) {
    int status = 1;
    if (auto store = Store::open(w.options)) {
      status = (*store)->get("a").value().value_or("") == "one" ? 0 : 2;
      for (int i = 0; i < 1000 && status == 0; ++i) status = (*store)->incr("n", 1, std::chrono::seconds(60)) ? 0 : 3;
    }
    ::_exit(status);   // as by a kill: nothing is closed
  }
  const auto store = w.open();
  for (int i = 0; i < 1000; ++i) REQUIRE(store->incr("n", 1, std::chrono::seconds(60)));
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(status == 0);
  CHECK(*store->incr("n", 0, std::chrono::seconds(60)) == 2000);
}

TEST_CASE("kv: a damaged file is replaced", "[kv]") {
  World w;
  {
    const auto store = w.open();
    for (int i = 0; i < 2000; ++i) REQUIRE(store->set("key" + std::to_string(i), std::string(200, 'v'), in(60)));
  }
  const std::string file = w.options.directory + "/state.mdb";
  std::ifstream read(file, std::ios::binary);
  std::string bytes((std::istreambuf_iterator<char>(read)), {});
  REQUIRE(bytes.size() > 100'000);
  SECTION("at its head") { bytes.replace(0, 8192, 8192, '\x5a'); }
  SECTION("in the middle") { bytes.replace(16384, bytes.size() - 20000, bytes.size() - 20000, '\xa5'); }
  SECTION("cut off") { bytes.resize(bytes.size() / 2); }
  std::ofstream(file, std::ios::binary | std::ios::trunc) << bytes;
  const auto store = w.open();
  CHECK(get(*store, "key1") == "(none)");
  REQUIRE(store->set("key1", "new", in(60)));
  CHECK(get(*store, "key1") == "new");
}

TEST_CASE("kv: what was not closed in order does not outlive a restart of the machine", "[kv]") {
  World w;
  {
    const auto store = w.open();
    REQUIRE(store->set("a", "one", in(60)));
  }
  SECTION("closed in order") {
    CHECK(get(*w.open(), "a") == "one");
  }
  SECTION("an older start's mark") {
    std::ofstream(w.options.directory + "/boot", std::ios::trunc) << "another start";
    CHECK(get(*w.open(), "a") == "(none)");
  }
}

TEST_CASE("kv: a file that another process replaced is followed", "[kv]") {
  World w;
  const auto store = w.open();
  REQUIRE(store->set("a", "one", in(60)));
  for (const char* name : {"/state.mdb", "/state.mdb-lock"}) ::unlink((w.options.directory + name).c_str());
  usleep(1'100'000);
  CHECK(get(*store, "a") == "(none)");
  REQUIRE(store->set("a", "two", in(60)));
  CHECK(get(*store, "a") == "two");
}

TEST_CASE("kv: writes on a fiber leave the loop free", "[kv]") {
  World w;
  const auto store = w.open();
  test::on_loop([&] {
    REQUIRE(store->change("a", [](const std::optional<std::string>& was) -> std::optional<Store::Change> {
      CHECK_FALSE(was);
      return Store::Change{"one", in(60)};
    }));
    CHECK(get(*store, "a") == "one");
  });
}
