#include "lua/script.h"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <fstream>

#include "core/net/dns.h"
#include "core/net/fiber.h"

using namespace millrace;

namespace {

// Answers after one turn of the loop, so that each question suspends the script.
class SlowResolver : public net::Resolver {
 public:
  net::DnsAnswer query(std::string_view name, net::DnsType, Deadline) override {
    CHECK(net::sleep_until(Deadline::after(std::chrono::milliseconds(1))).has_value());
    net::DnsAnswer answer;
    if (name == "down.example") return answer;
    answer.status = name == "none.example" ? net::DnsStatus::no_name : net::DnsStatus::ok;
    answer.records.push_back({60, 10, 0, 0, "v=" + std::string(name)});
    return answer;
  }
  void prefetch(std::string_view, net::DnsType) override {}
};

struct ScriptFile {
  explicit ScriptFile(const std::string& text) {
    path = "/tmp/millrace_lua_" + std::to_string(getpid()) + ".lua";
    std::ofstream(path) << text;
  }
  ~ScriptFile() { unlink(path.c_str()); }
  std::string path;
};

lua::Budget small_budget() {
  lua::Budget budget;
  budget.instructions = 200000;
  budget.memory_bytes = 1 << 20;
  budget.time = std::chrono::milliseconds(500);
  return budget;
}

std::string outcome(const Result<lua::Answer>& answer) {
  if (!answer) return "error " + answer.error().context;
  return answer->action;
}

// What `check` of a script with this body says, with budgets small enough to be hit.
std::string run(const std::string& body, const lua::Facts& facts = {}) {
  const ScriptFile file(body);
  net::Loop loop;
  std::string said;
  SlowResolver resolver;
  auto script = lua::Script::load(file.path, small_budget());
  if (!script) return "load " + script.error().context;
  const auto started = loop.spawn(net::Stack::session, [&] {
    said = outcome((*script)->call("check", facts, &resolver, Deadline::never(), log::Logger()));
    loop.stop();
  });
  REQUIRE(started.has_value());
  loop.run();
  return said;
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("lua: a function sees the facts and answers with words", "[lua]") {
  const lua::Facts facts = {{"helo_name", std::string("mx.example")}, {"size", std::int64_t{5}}};
  CHECK(run("function check(s) return s.helo_name end", facts) == "mx.example");
  CHECK(run("function check(s) return 'REJECT', '5.7.1 size ' .. s.size + 1 end", facts) == "REJECT 5.7.1 size 6");
}

TEST_CASE("lua: nil, wrong types and errors name file and line", "[lua]") {
  CHECK(contains(run("\nfunction check() end"), ".lua:2: function check returned nil"));
  CHECK(contains(run("function check() return 1 end"), ".lua:1: function check returned number"));
  CHECK(contains(run("function check() return 'ok', {} end"), "returned table"));
  CHECK(contains(run("function check()\n error('oops') end"), ".lua:2: oops"));
  CHECK(contains(run("function other() end"), "no function 'check'"));
  CHECK(contains(run("function check("), "load /tmp/"));
}

TEST_CASE("lua: errors without a position of their own get one", "[lua]") {
  CHECK(contains(run("function check()\n error({}) end"), ".lua:2: error with a table value"));
  CHECK(contains(run("function check()\n\n while true do end end"), ".lua:3: instruction limit exceeded"));
  CHECK(contains(run("\nfunction check() return ('x'):rep(1e9) end"), ".lua:2: not enough memory"));
  CHECK(contains(run("\nwhile true do end"), ".lua:2: instruction limit exceeded"));
}

TEST_CASE("lua: endless scripts end, also inside pcall", "[lua]") {
  CHECK(contains(run("function check() while true do end end"), "limit exceeded"));
  CHECK(contains(run("function check() while true do pcall(function() while true do end end) end end"), "limit exceeded"));
  CHECK(contains(run("function check() return ('a'):rep(60):find(('a*'):rep(12)..'b') and 'x' or 'y' end"), "too costly"));
}

TEST_CASE("lua: memory is capped and the next call is well", "[lua]") {
  CHECK(contains(run("function check() local t = {} for i = 1, 1e9 do t[i] = i end end"), "not enough memory"));
  CHECK(contains(run("function check() return ('x'):rep(1e9) end"), "not enough memory"));
}

TEST_CASE("lua: the sandbox has no way out", "[lua]") {
  for (const char* name : {"io", "require", "package", "debug", "load", "loadfile", "dofile", "collectgarbage", "os.execute",
                           "os.getenv", "string.dump"}) {
    CAPTURE(name);
    CHECK(run(std::string("function check() return ") + name + " == nil and 'gone' or 'there' end") == "gone");
  }
  CHECK(contains(run("function check() setmetatable({}, {__gc = function() end}) return 'x' end"), "__gc"));
  CHECK(contains(run("function check() leak = 1 return 'x' end"), "global 'leak'"));
  CHECK(contains(run("function check() return getmetatable(_G) and 'meta' or 'none' end"), "none"));
}

TEST_CASE("lua: dns suspends and answers", "[lua]") {
  CHECK(run("function check() return dns.txt('a.example')[1] end") == "v=a.example");
  CHECK(run("function check() return #dns.a('none.example') == 0 and 'none' or 'some' end") == "none");
  CHECK(run("function check() local r, why = dns.a('down.example') return r == nil and why end") == "temporary failure");
  CHECK(run("function check() local m = dns.mx('a.example')[1] return m.host .. m.preference end") == "v=a.example10");
  CHECK(run("function check() local t = {'b.example', 'a.example'} table.sort(t, function(x, y) return dns.txt(x)[1] < dns.txt(y)[1] end) "
            "return t[1] end") == "a.example");
}

TEST_CASE("lua: a thousand calls at once keep their answers apart", "[lua]") {
  const ScriptFile file("function check(s) local a = dns.txt(s.name)[1] local b = dns.txt(s.name)[1] assert(a == b) return a end");
  net::Loop loop;
  SlowResolver resolver;
  auto script = lua::Script::load(file.path, lua::Budget());
  REQUIRE(script.has_value());
  int right = 0, ended = 0;
  for (int i = 0; i < 1000; ++i) {
    const std::string name = "n" + std::to_string(i) + ".example";
    REQUIRE(loop.spawn(net::Stack::session, [&, name] {
      const auto answer = (*script)->call("check", {{"name", name}}, &resolver, Deadline::never(), log::Logger());
      right += answer.has_value() && answer->action == "v=" + name;
      if (++ended == 1000) loop.stop();
    }).has_value());
  }
  loop.run();
  CHECK(right == 1000);
}
