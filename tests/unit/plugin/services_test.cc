// Host interfaces and plugin.hpp: a filter written with the helper, asked through the chain.
#include <catch2/catch.hpp>
#include <filesystem>
#include <sys/stat.h>

#include "core/map/table.h"
#include "core/plugin/filter.h"
#include "core/plugin/options.h"
#include "core/plugin/order.h"
#include "millrace/plugin.hpp"
#include "tests/support/on_loop.h"
#include "tests/support/scripted_resolver.h"

using namespace millrace;
using namespace std::literals;
using filter::Action;
using filter::Stage;

namespace {

struct Shared {
  int ticks = 0, sessions_gone = 0;
  std::string seen;
};
Shared* shared = nullptr;

struct Remembered {
  int calls = 0;
  ~Remembered() { ++shared->sessions_gone; }
};

const char* const kBefore[] = {"kit/late", "milter:", nullptr};

class Probe : public sdk::Filter {
 public:
  static sdk::Description describe() {
    sdk::Description d{"probe", "1", "tries everything"};
    d.stages = MR_STAGE_HELO | MR_STAGE_MAIL | MR_STAGE_RCPT | MR_STAGE_MESSAGE;
    d.edits = MR_EDIT_HEADERS;
    d.reads_body = true;
    d.config_schema = R"({"table": {"type": "string"}, "tick": {"type": "boolean"}, "odd": {"type": "string"}})";
    d.before = kBefore;
    return d;
  }
  bool configure(const sdk::Settings& settings) override {
    if (const auto odd = settings.find("odd"); odd != settings.end()) shared->seen = odd->second;
    if (const auto name = settings.find("table"); name != settings.end()) table_ = host().open_table(name->second);
    tick_ = settings.count("tick") > 0;
    return settings.count("table") == 0 || table_ != 0;
  }
  bool start() override {
    mr_handle timer = 0;
    return !tick_ || host().timer()->start(host().ctx(), 1'000'000, 2'000'000, [](void*) { ++shared->ticks; }, nullptr, &timer) == MR_OK;
  }
  Verdict helo(Call& call) override {
    call.state<Remembered>().calls++;
    return {};
  }
  Verdict mail(Call& call) override {
    call.prepend_header("X-Early", "yes");
    call.auth_result("spf", "pass", "", {{"smtp.mailfrom", "a b"}});
    return call.sender() == "refuse@x" ? Verdict::reject("not you").reason("probe") : Verdict();
  }
  Verdict rcpt(Call& call) override {
    const std::string who = call.recipients().at(0);
    if (who == "throw@x") throw std::runtime_error("thrown on purpose");
    if (who == "table@x") {
      std::string value;
      const mr_rc rc = call.find(table_, "key", value);
      return Verdict::reject(value + " " + std::to_string(rc) + " " + std::to_string(call.find(table_, "nokey", value)));
    }
    if (who == "kv@x") {
      std::int64_t sum = 0;
      host().state()->add(host().ctx(), sdk::text_of("n"), 2, 0, &sum);
      return Verdict::reject(std::to_string(sum) + call.recall("n").value_or("none"));
    }
    if (who == "short@x") {
      call.remember("brief", "v", 1);
      return Verdict::reject(call.recall("brief").value_or("gone"));
    }
    if (who == "expire@x") {
      const mr_kv_1* const kv = host().state();
      call.remember("long", "v");
      std::string said = std::to_string(kv->expire(host().ctx(), sdk::text_of("long"), 1));
      said += call.recall("long").value_or("gone");
      said += std::to_string(kv->expire(host().ctx(), sdk::text_of("nothing"), 1));
      return Verdict::reject(said + std::to_string(kv->put(host().ctx(), sdk::text_of("big"), sdk::text_of(std::string(2001, 'x')), 0)));
    }
    if (who == "work@x") {
      int out = 0;
      const bool run = call.offload([&] { out = 7; });
      return Verdict::reject(std::to_string(run) + std::to_string(out));
    }
    if (who == "sleep@x") {
      const std::uint64_t start = host().now_ns();
      const bool in_time = call.sleep_until(start + 5'000'000);
      return Verdict::reject(std::to_string(in_time) + std::to_string(host().now_ns() - start >= 5'000'000));
    }
    if (who == "late@x") {
      call.sleep_until(host().now_ns() + 10'000'000'000);
      return Verdict::reject("too late");
    }
    if (who == "calls@x") return Verdict::reject(std::to_string(call.state<Remembered>().calls));
    if (who == "dns@x") return Verdict::reject(call.dns("a.test", MR_DNS_A).records.at(0).value);
    if (who == "count@x") {
      host().count("asked", 3);
      host().set("level", 0.5);
      return {};
    }
    return {};
  }
  Verdict message(Call& call) override {
    call.auth_result("dkim", "fail", "bad body hash", {});
    call.add_header("X-Probe", call.header("Subject").value_or("none"));
    for (const auto& part : call.parts()) {
      if (part.depth > 0) call.add_header("X-Part", part.type + " " + part.filename + " " + call.part_body(1, 0).value_or("unreadable"));
    }
    return {};
  }
  bool is_restriction() const override { return true; }
  std::string check(Call& call, const sdk::Attributes& attributes) override {
    for (const auto& [name, value] : attributes) {
      if (name == "sender" && value == "bad@x") return "REJECT no mail from " + call.sender();
      if (name == "sender" && value == "throw@x") throw 1;
      if (name == "sender" && value == "split@x") return "REJECT a\nb";
    }
    return "";
  }

 private:
  mr_handle table_ = 0;
  bool tick_ = false;
};

class Late : public sdk::Filter {
 public:
  static sdk::Description describe() {
    sdk::Description d{"late", "1", "comes later"};
    d.stages = MR_STAGE_RCPT;
    return d;
  }
};

using Both = sdk::detail::Plugin<Probe, Late>;

struct Rig {
  explicit Rig(const std::string& element = "plugin:kit/probe", const char* second = nullptr) : tables(map::TableOptions{}) {
    shared = &mine;
    host.resolver = [this]() -> net::Resolver* { return &resolver; };
    host.tables = &tables;
    host.state = plugin::make_memory_state(100'000);
    host.authserv_id = "mx.example";
    add(element);
    if (second != nullptr) add(second);
    session.emplace(chain, facts, nullptr, log::Logger());
  }
  void add(const std::string& element) {
    auto library = plugin::Library::from_entry("kit", Both::entry());
    REQUIRE(library.has_value());
    auto made = plugin::make_filter(*library, element, host);
    if (!made) problem = made.error().context;
    else chain.add(*made);
  }
  filter::Verdict rcpt(const std::string& address) {
    const mime::Recipient rcpt{address, address, "", 0};
    filter::Context context{.session = facts, .envelope = envelope, .rcpt = &rcpt};
    return session->at(Stage::rcpt, context);
  }
  Shared mine;
  map::TableSet tables;
  plugin::Host host;
  std::string problem;
  test::ScriptedResolver resolver;
  filter::Chain chain;
  filter::SessionFacts facts;
  mime::Envelope envelope;
  std::optional<filter::ChainSession> session;
};

}  // namespace

TEST_CASE("plugin services: tables, state, work, sleep, DNS", "[plugin]") {
  test::on_loop_to_end([] {
    Rig rig("{ plugin:kit/probe, { table = inline:{key=found} }, { odd = a\"b\\c\tü } }");
    REQUIRE(rig.problem.empty());
    CHECK(rig.mine.seen == "a\"b\\c\tü");
    rig.resolver.a("a.test", "192.0.2.1");
    CHECK(rig.rcpt("table@x").text == "found 0 -7");
    CHECK(rig.rcpt("kv@x").text == "22");
    CHECK(rig.rcpt("kv@x").text == "44");
    CHECK(rig.rcpt("short@x").text == "gone");
    CHECK(rig.rcpt("expire@x").text == "0gone-7-3");
    CHECK(rig.rcpt("work@x").text == "17");
    CHECK(rig.rcpt("sleep@x").text == "11");
    CHECK(rig.rcpt("dns@x").text == "192.0.2.1");
    CHECK(rig.rcpt("throw@x").code == 451);
  });
}

TEST_CASE("plugin services: state that all processes share", "[plugin]") {
  char place[] = "/tmp/kvstateXXXXXX";
  const std::string directory = mkdtemp(place);
  test::on_loop_to_end([&] {
    Rig rig;
    rig.host.state = plugin::make_shared_state(directory + "/state", 100'000, log::Logger());
    rig.chain = {};
    rig.add("plugin:kit/probe");
    rig.session.emplace(rig.chain, rig.facts, nullptr, log::Logger());
    CHECK(rig.rcpt("kv@x").text == "22");
    CHECK(rig.rcpt("short@x").text == "gone");
    CHECK(rig.rcpt("expire@x").text == "0gone-7-3");
    // Another process would see the same; here another door to the same environment.
    const auto other = plugin::make_shared_state(directory + "/state", 100'000, log::Logger());
    CHECK(other->add("plugin kit/probe\nn", 5, 0s).value() == 7);
    CHECK(rig.rcpt("kv@x").text == "99");
    REQUIRE(other->put("word", "seven", 1h));
    CHECK(other->add("word", 1, 0s).error().code == Errc::protocol);
    CHECK(other->get("word").value() == "seven");
    CHECK(other->expire("word", 2h).value());
    REQUIRE(other->remove("word"));
    CHECK_FALSE(other->get("word").value().has_value());
  });
  // What cannot be opened is kept in memory.
  const auto nowhere = plugin::make_shared_state("/dev/null/state", 100'000, log::Logger());
  CHECK(nowhere->add("n", 2, 0s).value() == 2);
  CHECK(nowhere->get("n").value() == "2");
  CHECK(nowhere->expire("n", 1ns).value());
  CHECK_FALSE(nowhere->get("n").value().has_value());
  std::filesystem::remove_all(directory);
}

TEST_CASE("plugin services: the parts of a message", "[plugin]") {
  test::on_loop_to_end([] {
    Rig rig;
    filter::Context context{.session = rig.facts, .envelope = rig.envelope};
    mime::Message message;
    message.headers.push_back(mime::Header::make("Content-Type", "multipart/mixed; boundary=b"));
    REQUIRE(message.body.append("--b\r\nContent-Type: text/x; name=n.txt\r\nContent-Transfer-Encoding: base64\r\n\r\nSGVsbG8=\r\n--b--\r\n"));
    CHECK(rig.session->message(context, message, -1).action == Action::proceed);
    CHECK(message.find("X-Part")->unfolded() == "text/x n.txt Hello");
  });
}

TEST_CASE("plugin services: a table that does not open stops the start", "[plugin]") {
  Rig rig("{ plugin:kit/probe, table=nosuch:thing }");
  CHECK(rig.problem.find("nosuch") != std::string::npos);
}

TEST_CASE("plugin services: sleeping past the deadline is no answer", "[plugin]") {
  test::on_loop_to_end([] {
    Rig rig("{ plugin:kit/probe, timeout=1s }");
    const auto start = SteadyClock::now();
    CHECK(rig.rcpt("late@x").code == 451);
    CHECK(SteadyClock::now() - start < 5s);
    (void)net::sleep_until(Deadline::after(20ms));
  });
}

TEST_CASE("plugin services: timers fire until the filter goes", "[plugin]") {
  Shared kept;
  test::on_loop_to_end([&] {
    {
      Rig rig("{ plugin:kit/probe, tick=yes }");
      shared = &kept;
      (void)net::sleep_until(Deadline::after(30ms));
      CHECK(kept.ticks >= 3);
    }
    const int then = kept.ticks;
    (void)net::sleep_until(Deadline::after(20ms));
    CHECK(kept.ticks == then);
  });
}

TEST_CASE("plugin services: what a session is remembered by dies with it", "[plugin]") {
  Shared kept;
  test::on_loop_to_end([&] {
    Rig rig;
    shared = &kept;
    filter::Context context{.session = rig.facts, .envelope = rig.envelope};
    rig.session->at(Stage::helo, context);
    CHECK(rig.rcpt("calls@x").text == "1");
    rig.session.reset();
    (void)net::sleep_until(Deadline::after(5ms));
    CHECK(kept.sessions_gone == 1);
  });
}

TEST_CASE("plugin services: metrics are counted per filter", "[plugin]") {
  test::on_loop_to_end([] {
    auto library = plugin::Library::from_entry("kit", Both::entry());
    Shared mine;
    shared = &mine;
    auto instance = plugin::Instance::make(*library, *(*library)->find("probe"), "{}", plugin::Host{{}, log::Logger()});
    REQUIRE(instance.has_value());
    CHECK((*instance)->set_metric("asked", 3, true));
    CHECK((*instance)->set_metric("asked", 3, true));
    CHECK((*instance)->metrics().at("asked") == 6);
    for (int i = 0; i < 63; ++i) CHECK((*instance)->set_metric("m" + std::to_string(i), 1, false));
    CHECK_FALSE((*instance)->set_metric("one-too-many", 1, false));
  });
}

TEST_CASE("plugin services: fields before the message, and one Authentication-Results", "[plugin]") {
  test::on_loop_to_end([] {
    Rig rig;
    filter::Context context{.session = rig.facts, .envelope = rig.envelope};
    context.prepend.push_back("Authentication-Results: mx.example;\n\tauth=pass");
    CHECK(rig.session->at(Stage::mail, context).action == Action::proceed);
    CHECK(context.prepend == std::vector<std::string>{"Authentication-Results: mx.example;\n\tauth=pass;\n\tspf=pass smtp.mailfrom=\"a b\"",
                                                      "X-Early: yes"});
    rig.envelope.sender = "refuse@x";
    filter::Context refused{.session = rig.facts, .envelope = rig.envelope};
    CHECK(rig.session->at(Stage::mail, refused).reason_id == "probe");

    mime::Message message;
    message.headers.push_back(mime::Header::make("Authentication-Results", "mx.example;\n\tspf=pass"));
    message.headers.push_back(mime::Header::make("Received", "by us"));
    message.headers.back().own_received = true;
    message.headers.push_back(mime::Header::make("Authentication-Results", "mx.example; spf=forged"));
    message.headers.push_back(mime::Header::make("Subject", "s"));
    CHECK(rig.session->message(context, message, -1).action == Action::proceed);
    CHECK(message.header_text() ==
          "Authentication-Results: mx.example;\r\n\tspf=pass;\r\n\tdkim=fail reason=\"bad body hash\"\r\nReceived: by us\r\n"
          "Authentication-Results: mx.example; spf=forged\r\nSubject: s\r\nX-Probe: s\r\n\r\n");
  });
}

TEST_CASE("plugin order: wishes are kept, and else main.cf's order is", "[plugin]") {
  const auto order = [](std::vector<plugin::Wishes> filters) {
    std::string out;
    const auto places = plugin::resolve_order(filters);
    if (!places) return places.error().context;
    for (const std::size_t place : *places) out += (out.empty() ? "" : " ") + filters[place].name;
    return out;
  };
  Rig good("plugin:kit/probe", "plugin:kit/late"), moved("plugin:kit/late", "plugin:kit/probe");
  const auto of = [&](const Rig& rig) { return order({plugin::wishes_of(*rig.chain.filters()[0]), plugin::wishes_of(*rig.chain.filters()[1])}); };
  CHECK(of(good) == "plugin:kit/probe plugin:kit/late");
  CHECK(of(moved) == "plugin:kit/probe plugin:kit/late");
  CHECK(order({{"a", {}, {}}, {"b", {}, {}}, {"c", {"a"}, {}}, {"d", {}, {}}}) == "b c a d");
  CHECK(order({{"milter:x", {}, {}}, {"milter:y", {}, {}}, {"plugin:sign", {}, {"milter:"}}, {"plugin:p", {}, {"sign"}}}) ==
        "milter:x milter:y plugin:sign plugin:p");
  CHECK(order({{"plugin:sign", {}, {"milter:"}}, {"plugin:p", {"milter:"}, {}}, {"milter:x", {}, {}}}) == "plugin:p milter:x plugin:sign");
  CHECK(order({{"plugin:a", {"b"}, {}}, {"plugin:b", {"a"}, {}}}) ==
        "plugin:b must stand before plugin:a, and, by what others ask for, behind it");
  CHECK(plugin::is_meant("milter:", "milter:inet:127.0.0.1:1"));
  CHECK(plugin::is_meant("kit", "plugin:kit/probe"));
  CHECK_FALSE(plugin::is_meant("kit/late", "plugin:kit/probe"));
}

TEST_CASE("check_plugin: an action, an error, an answer that is no line", "[plugin]") {
  test::on_loop_to_end([] {
    Shared mine;
    shared = &mine;
    auto library = plugin::Library::from_entry("kit", Both::entry());
    auto instance = plugin::Instance::make(*library, *(*library)->find("probe"), "{}", plugin::Host{{}, log::Logger()});
    REQUIRE(instance.has_value());
    const auto word = plugin::Restriction::make(*instance, filter::Options{.timeout = 5s});
    REQUIRE(word.has_value());
    filter::SessionFacts facts;
    mime::Envelope envelope;
    envelope.sender = "real@x";
    filter::Context context{.session = facts, .envelope = envelope};
    context.deadline = Deadline::after(5s);
    CHECK((*word)->ask({{"sender", "bad@x"}}, context).value() == "REJECT no mail from real@x");
    CHECK((*word)->ask({{"sender", "good@x"}}, context).value().empty());
    CHECK_FALSE((*word)->ask({{"sender", "throw@x"}}, context).has_value());
    CHECK_FALSE((*word)->ask({{"sender", "split@x"}}, context).has_value());

    auto other = plugin::Instance::make(*library, *(*library)->find("late"), "{}", plugin::Host{{}, log::Logger()});
    CHECK(plugin::Restriction::make(*other, filter::Options{}).error().context == "plugin kit/late offers no restriction (mr.restriction/1)");
  });
}

TEST_CASE("museum: a plugin from the first draft still works", "[plugin]") {
  char place[] = "/tmp/museumXXXXXX";
  const std::string directory = mkdtemp(place);
  std::filesystem::copy_file("tests/museum/elder.so", directory + "/elder.so");
  chmod((directory + "/elder.so").c_str(), 0644);
  test::on_loop_to_end([&] {
    auto made = plugin::make_filter(directory, "plugin:elder", plugin::Host{{}, log::Logger()});
    REQUIRE(made.has_value());
    filter::Chain chain;
    chain.add(*made);
    filter::SessionFacts facts;
    mime::Envelope envelope;
    filter::ChainSession session(chain, facts, nullptr, log::Logger());
    const mime::Recipient rcpt{"elder@refuse.x", "elder@refuse.x", "", 0};
    filter::Context context{.session = facts, .envelope = envelope, .rcpt = &rcpt, .typed = "<elder@refuse.x>"};
    CHECK(session.at(Stage::rcpt, context).text == "refused by the elder");
    filter::Context end{.session = facts, .envelope = envelope};
    mime::Message message;
    CHECK(session.message(end, message, -1).action == Action::proceed);
    CHECK(message.header_text() == "X-Elder: was here\r\n\r\n");
  });
  std::filesystem::remove_all(directory);
}

TEST_CASE("museum: a plugin of SDK 0.2 still works", "[plugin]") {
  char place[] = "/tmp/museumXXXXXX";
  const std::string directory = mkdtemp(place);
  std::filesystem::copy_file("tests/museum/second.so", directory + "/second.so");
  chmod((directory + "/second.so").c_str(), 0644);
  test::on_loop_to_end([&] {
    plugin::Host host{{}, log::Logger()};
    host.state = plugin::make_memory_state(10'000);
    host.authserv_id = "mx.example";
    auto made = plugin::make_filter(directory, "plugin:second", host);
    REQUIRE(made.has_value());
    CHECK(plugin::wishes_of(**made).before == std::vector<std::string>{"elder"});
    filter::Chain chain;
    chain.add(*made);
    filter::SessionFacts facts;
    mime::Envelope envelope;
    filter::ChainSession session(chain, facts, nullptr, log::Logger());
    for (const char* const count : {"1", "2"}) {
      filter::Context end{.session = facts, .envelope = envelope};
      mime::Message message;
      CHECK(session.message(end, message, -1).action == Action::proceed);
      CHECK(message.header_text() == std::string("Authentication-Results: mx.example;\r\n\tsecond=pass\r\nX-Second: ") + count + "\r\n\r\n");
    }
  });
  std::filesystem::remove_all(directory);
}
