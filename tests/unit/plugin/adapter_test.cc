// A plugin that does what it should not, through the chain.  What it does stands in the recipient, or in
// the message's Subject.
#include <catch2/catch.hpp>
#include <cstring>
#include <functional>
#include <thread>

#include "core/plugin/filter.h"
#include "core/plugin/options.h"
#include "tests/support/on_loop.h"
#include "tests/support/scripted_resolver.h"

using namespace millrace;
using namespace std::literals;
using filter::Action;
using filter::Stage;

namespace {

mr_string text(std::string_view s) { return {s.data(), s.size()}; }
std::string str(mr_string s) { return std::string(s.data == nullptr ? "" : s.data, s.size); }

struct Hostile {
  const mr_host* host = nullptr;
  mr_filter filter{};
  std::vector<std::thread> threads;
  mr_handle old_call = 0, old_message = 0, old_session = 0;
  std::vector<std::string> seen;
  int canceled = 0, closed = 0, stopped = 0;
  mr_rc rc = 0, second = 0;
  mr_verdict verdict{};

  const mr_msg_1* msg() const { return static_cast<const mr_msg_1*>(host->get_interface(host->ctx, "mr.msg/1")); }
  const mr_dns_1* dns() const { return static_cast<const mr_dns_1*>(host->get_interface(host->ctx, "mr.dns/1")); }
  const mr_session_1* session() const {
    return static_cast<const mr_session_1*>(host->get_interface(host->ctx, "mr.session/1"));
  }
  mr_verdict make(std::int32_t action, std::string_view words = {}) {
    mr_verdict v{};
    v.struct_size = sizeof v;
    v.action = action;
    v.text = text(words);
    return v;
  }
  void later(std::chrono::milliseconds wait, std::function<void()> what) {
    threads.emplace_back([wait, what] {
      std::this_thread::sleep_for(wait);
      what();
    });
  }
};
Hostile* hostile = nullptr;

// Plugins outlive the sessions of a test: close comes on a fiber of its own.
Hostile& new_hostile() {
  static std::vector<std::unique_ptr<Hostile>> all;
  hostile = all.emplace_back(std::make_unique<Hostile>()).get();
  return *hostile;
}

std::int32_t act(Hostile& h, const mr_event& e, mr_verdict& out, const std::string& what) {
  const mr_handle call = e.call;
  if (what == "reject") return out.action = MR_REJECT, out.text = text("no"), MR_DONE;
  if (what == "accept") return out.action = MR_ACCEPT, MR_DONE;
  if (what == "bad-action") return out.action = 99, MR_DONE;
  if (what == "bad-text") return out.action = MR_REJECT, out.text = text("a\r\n250 b"), MR_DONE;
  if (what == "error") return MR_E_FAILED;
  if (what == "weird") return 42;
  if (what == "throw") throw 7;
  if (what == "inside") {
    const std::string dying = "text of its own";
    const auto v = h.make(MR_REJECT, dying);
    h.rc = h.host->complete(h.host->ctx, call, &v);
    return MR_PENDING;
  }
  if (what == "double") {
    const auto v = h.make(MR_REJECT, "first"), w = h.make(MR_DISCARD);
    h.rc = h.host->complete(h.host->ctx, call, &v);
    h.second = h.host->complete(h.host->ctx, call, &w);
    return MR_PENDING;
  }
  if (what == "complete-and-done") {
    const auto v = h.make(MR_REJECT, "first");
    h.host->complete(h.host->ctx, call, &v);
    out.action = MR_DISCARD;
    return MR_DONE;
  }
  if (what == "thread") {
    h.later(20ms, [&h, call, message = e.message] {
      mr_string sender;
      h.second = h.msg()->sender(h.host->ctx, message, &sender);
      const std::string words = "from a thread about " + str(sender);
      const auto v = h.make(MR_TEMPFAIL, words);
      h.rc = h.host->complete(h.host->ctx, call, &v);
    });
    return MR_PENDING;
  }
  if (what == "thread-bad") {
    h.later(5ms, [&h, call] {
      const auto v = h.make(-5);
      h.host->complete(h.host->ctx, call, &v);
    });
    return MR_PENDING;
  }
  if (what == "late") {
    h.later(250ms, [&h, call] {
      const auto v = h.make(MR_REJECT, "late");
      h.rc = h.host->complete(h.host->ctx, call, &v);
      h.second = h.host->complete(h.host->ctx, call, &v);
    });
    return MR_PENDING;
  }
  if (what == "never") return MR_PENDING;
  if (what == "stale") {
    mr_string s;
    const auto v = h.make(MR_REJECT);
    h.rc = h.host->complete(h.host->ctx, h.old_call, &v);
    h.second = h.msg()->sender(h.host->ctx, h.old_message, &s);
    h.seen.push_back(std::to_string(h.session()->get(h.host->ctx, h.old_session + (1ull << 32), "helo_name", &s)));
    h.seen.push_back(std::to_string(h.host->complete(h.host->ctx, e.message, &v)));   // the wrong kind
    return MR_DONE;
  }
  if (what == "dns" || what == "dns-slow") {
    mr_dns_answer a{};
    a.struct_size = sizeof a;
    h.rc = h.dns()->query(h.host->ctx, call, text("x.example"), MR_DNS_A, &a);
    if (h.rc == MR_OK && a.record_count == 1) h.seen.push_back(str(a.records[0].value));
    return MR_DONE;
  }
  if (what == "dns-thread") {
    std::thread([&] {
      mr_dns_answer a{};
      a.struct_size = sizeof a;
      h.rc = h.dns()->query(h.host->ctx, call, text("x.example"), MR_DNS_A, &a);
    }).join();
    return MR_DONE;
  }
  if (what == "block") {
    std::this_thread::sleep_for(50ms);
    mr_dns_answer a{};
    a.struct_size = sizeof a;
    h.rc = h.dns()->query(h.host->ctx, call, text("x.example"), MR_DNS_A, &a);
    return out.action = MR_REJECT, MR_DONE;
  }
  if (what == "early-edit") {
    h.rc = h.msg()->header_add(h.host->ctx, e.message, text("X"), text("y"));
    return MR_DONE;
  }
  if (what == "undeclared") {
    h.rc = h.msg()->body_append(h.host->ctx, e.message, text("x"));
    h.second = h.msg()->header_add(h.host->ctx, e.message, text("X-Mine"), text("yes"));
    return MR_DONE;
  }
  if (what == "bad-edits") {
    h.rc = h.msg()->header_add(h.host->ctx, e.message, text("X Y"), text("y"));
    h.second = h.msg()->header_delete(h.host->ctx, e.message, text("X"), 1);
    h.seen.push_back(std::to_string(h.msg()->header_add(h.host->ctx, e.message, text("X"), text("a\0b"sv))));
    return MR_DONE;
  }
  if (what == "edit-then-late") {
    h.msg()->header_add(h.host->ctx, e.message, text("X-Late"), text("yes"));
    return MR_PENDING;
  }
  if (what == "edit-then-fail") {
    h.msg()->header_add(h.host->ctx, e.message, text("X-Failed"), text("yes"));
    return MR_E_FAILED;
  }
  if (what == "read") {
    std::uint64_t n = 0;
    mr_string name, value;
    h.msg()->header_count(h.host->ctx, e.message, &n);
    h.seen.push_back(std::to_string(n));
    h.msg()->header_at(h.host->ctx, e.message, 1, &name, &value);
    h.seen.push_back(str(name) + "=" + str(value));
    h.seen.push_back(std::to_string(h.msg()->header_find(h.host->ctx, e.message, text("none"), 1, &value)));
    char body[4];
    if (h.msg()->body_read(h.host->ctx, e.message, 2, body, sizeof body, &n) != MR_OK) n = 0;
    h.seen.emplace_back(body, n);
    h.msg()->recipient_at(h.host->ctx, e.message, 0, &value);
    h.seen.push_back(str(value));
    h.session()->get(h.host->ctx, e.session, "client_address", &value);
    h.seen.push_back(str(value));
    h.seen.push_back(std::to_string(h.session()->get(h.host->ctx, e.session, "nonsense", &value)));
    return MR_DONE;
  }
  return MR_DONE;
}

mr_descriptor descriptor;
std::string configured;

const mr_entry kEntry = {
    sizeof(mr_entry), MR_ABI_MAJOR, MR_ABI_MINOR, MR_ABI_DRAFT, 1, 0, "test", "test",
    [](std::uint32_t) -> const mr_descriptor* { return &descriptor; },
    [](const mr_host* host, const char*) -> mr_filter* {
      hostile->host = host;
      mr_filter& f = hostile->filter;
      f = {};
      f.struct_size = sizeof f;
      f.self = hostile;
      f.configure = [](void*, mr_string json) -> mr_rc {
        configured = str(json);
        if (configured.find("refuse") == configured.npos) return MR_OK;
        hostile->host->log(hostile->host->ctx, 0, MR_LOG_ERROR, text("I will not"));
        return MR_E_FAILED;
      };
      f.on_stage = [](void*, const mr_event* e, mr_verdict* v) -> std::int32_t {
        Hostile& h = *hostile;
        if (e->stage == MR_STAGE_CLOSE) return ++h.closed, MR_DONE;
        if (e->stage == MR_STAGE_ABORT) return h.seen.push_back("abort"), MR_DONE;
        std::string what = str(e->argument);
        mr_string subject;
        if (e->stage == MR_STAGE_MESSAGE && h.msg()->header_find(h.host->ctx, e->message, text("Subject"), 1, &subject) == MR_OK) {
          what = str(subject);
        }
        const std::int32_t rc = act(h, *e, *v, what);
        h.old_call = e->call;
        h.old_message = e->message;
        h.old_session = e->session;
        return rc;
      };
      f.cancel = [](void*, mr_handle) { ++hostile->canceled; };
      f.stop = [](void*) { ++hostile->stopped; };
      f.destroy = [](void*) {};
      return &f;
    }};

struct Rig {
  explicit Rig(std::chrono::milliseconds timeout = 100ms, std::function<void(mr_descriptor&)> change = {}) {
    descriptor = {};
    descriptor.struct_size = sizeof descriptor;
    descriptor.stages = MR_STAGE_RCPT | MR_STAGE_MESSAGE | MR_STAGE_CLOSE | MR_STAGE_ABORT;
    descriptor.edits = MR_EDIT_HEADERS;
    descriptor.body_need = MR_BODY_WHOLE;
    descriptor.threads = MR_THREADS_FREE;
    descriptor.id = "hostile";
    descriptor.version = "1";
    descriptor.summary = "hostile";
    if (change) change(descriptor);
    auto library = plugin::Library::from_entry("hostile", &kEntry);
    REQUIRE(library);
    plugin::Host host;
    host.resolver = [this]() -> net::Resolver* { return &resolver; };
    auto made = plugin::Instance::make(*library, descriptor, "{}", std::move(host));
    REQUIRE(made);
    instance = *made;
    filter::Options options;
    options.timeout = timeout;
    options.default_action = filter::Verdict::reply(451, "4.7.1", "default");
    chain.add(plugin::make_plugin_filter(instance, "plugin:hostile", options));
    facts.client_address = "192.0.2.7";
    envelope.sender = "s@x";
    resolver.give("x.example", net::DnsType::a, {"198.51.100.1"});
    session.emplace(chain, facts, nullptr, log::Logger());
  }
  ~Rig() { join(); }
  void join() {
    for (std::thread& thread : plugin.threads) thread.join();
    plugin.threads.clear();
  }
  filter::Verdict rcpt(std::string_view what) {
    filter::Context context{.session = facts, .envelope = envelope, .typed = what};
    return session->at(Stage::rcpt, context);
  }
  filter::Verdict message(std::string_view what) {
    content = mime::Message();
    content.headers.push_back(mime::Header::make("Received", "ours"));
    content.headers[0].own_received = true;
    content.headers.push_back(mime::Header::make("From", "a"));
    content.headers.push_back(mime::Header::make("Subject", what));
    REQUIRE(content.body.append("0123456789\r\n"));
    envelope.recipients = {{"r@y", "r@y", "", 0}};
    filter::Context context{.session = facts, .envelope = envelope};
    return session->message(context, content, -1);
  }
  static void wait_for(const std::function<bool()>& done) {
    for (int i = 0; i < 5000 && !done(); ++i) pause(1ms);
    REQUIRE(done());
  }
  static void pause(std::chrono::milliseconds span) { REQUIRE(net::sleep_until(Deadline::after(span))); }

  Hostile& plugin = new_hostile();
  test::ScriptedResolver resolver;
  std::shared_ptr<plugin::Instance> instance;
  filter::Chain chain;
  filter::SessionFacts facts;
  mime::Envelope envelope;
  mime::Message content;
  std::optional<filter::ChainSession> session;
};

}  // namespace

TEST_CASE("plugin adapter: verdicts reach the chain", "[plugin]") {
  test::on_loop_to_end([] {
    Rig rig;
    CHECK(rig.rcpt("x").action == Action::proceed);
    CHECK(rig.rcpt("reject").text == "no");
    CHECK(rig.rcpt("inside").text == "text of its own");
    CHECK(rig.plugin.rc == MR_OK);
    const auto verdict = rig.rcpt("thread");
    CHECK(verdict.action == Action::tempfail);
    CHECK(verdict.text == "from a thread about s@x");
    CHECK(rig.plugin.second == MR_OK);
    CHECK(rig.instance->counters().misbehaved == 0);
    CHECK(rig.instance->calls.size() == 1);   // the one that the session uses again
  });
}

TEST_CASE("plugin adapter: nonsense is the default action and counted", "[plugin]") {
  const auto what = GENERATE(as<std::string>(), "bad-action", "bad-text", "error", "weird", "throw", "thread-bad");
  CAPTURE(what);
  test::on_loop_to_end([&] {
    Rig rig;
    const auto verdict = rig.rcpt(what);
    CHECK(verdict.action == Action::tempfail);
    CHECK(verdict.text == "default");
    CHECK(rig.instance->counters().failures == 1);
    CHECK((rig.instance->counters().misbehaved == 1) == (what != "error"));
    CHECK(rig.rcpt("reject").action == Action::reject);   // and the next call is as good as any
  });
}

TEST_CASE("plugin adapter: a body is for who declared it", "[plugin]") {
  test::on_loop_to_end([] {
    Rig rig(100ms, [](mr_descriptor& d) { d.body_need = MR_BODY_NONE; });
    (void)rig.message("read");
    CHECK(rig.instance->counters().misbehaved == 1);
  });
}

TEST_CASE("plugin adapter: the first answer counts", "[plugin]") {
  test::on_loop_to_end([] {
    Rig rig;
    CHECK(rig.rcpt("double").text == "first");
    CHECK(rig.plugin.rc == MR_OK);
    CHECK(rig.plugin.second == MR_E_STALE);
    CHECK(rig.rcpt("complete-and-done").text == "first");
    Rig::pause(5ms);
    CHECK(rig.instance->counters().misbehaved == 1);
  });
}

TEST_CASE("plugin adapter: late answers change nothing", "[plugin]") {
  const bool has_cancel = GENERATE(true, false);
  test::on_loop_to_end([&] {
    Rig rig;
    if (!has_cancel) rig.plugin.filter.cancel = nullptr;
    CHECK(rig.rcpt("late").text == "default");
    Rig::pause(10ms);
    CHECK(rig.plugin.canceled == (has_cancel ? 1 : 0));
    CHECK(rig.instance->calls.size() == (has_cancel ? 0u : 1u));   // kept for the texts it may be reading
    CHECK(rig.rcpt("reject").text == "no");
    Rig::pause(250ms);
    rig.join();
    CHECK(rig.plugin.rc == MR_E_STALE);
    CHECK(rig.plugin.second == MR_E_STALE);
    CHECK(rig.instance->calls.size() == 1);
    CHECK(rig.instance->counters().late + rig.instance->counters().stale == 2);
    CHECK(rig.rcpt("never").text == "default");
  });
}

TEST_CASE("plugin adapter: stale and foreign handles are refused", "[plugin]") {
  test::on_loop_to_end([] {
    Rig rig;
    rig.rcpt("x");
    CHECK(rig.rcpt("stale").action == Action::proceed);
    CHECK(rig.plugin.rc == MR_E_STALE);
    CHECK(rig.plugin.second == MR_E_STALE);
    CHECK(rig.plugin.seen == std::vector<std::string>{std::to_string(MR_E_STALE), std::to_string(MR_E_STALE)});
    CHECK(rig.instance->counters().stale == 4);
  });
}

TEST_CASE("plugin adapter: DNS suspends the plugin, and only on its own fiber", "[plugin]") {
  test::on_loop_to_end([] {
    Rig rig;
    rig.resolver.delay = 10ms;
    CHECK(rig.rcpt("dns").action == Action::proceed);
    CHECK(rig.plugin.seen == std::vector<std::string>{"198.51.100.1"});
    rig.rcpt("dns-thread");
    CHECK(rig.plugin.rc == MR_E_THREAD);
  });
}

TEST_CASE("plugin adapter: the deadline answers for a plugin that waits, and close waits for it", "[plugin]") {
  test::on_loop_to_end([] {
    Rig rig;
    rig.resolver.delay = 200ms;
    rig.resolver.ignore_deadline = true;
    CHECK(rig.rcpt("dns-slow").text == "default");
    CHECK(rig.rcpt("reject").text == "default");   // still busy: not asked again
    rig.session.reset();
    Rig::pause(5ms);
    CHECK(rig.plugin.closed == 0);
    Rig::wait_for([&] { return rig.plugin.closed > 0; });
    CHECK(rig.plugin.rc == MR_E_STALE);
    CHECK(rig.plugin.closed == 1);
    CHECK(rig.instance->counters().late == 1);
    CHECK(rig.instance->calls.size() == 0);
    CHECK(rig.instance->sessions.size() == 0);
  });
}

TEST_CASE("plugin adapter: a filter that blocks runs on a worker thread", "[plugin]") {
  test::on_loop_to_end([] {
    Rig rig(1s, [](mr_descriptor& d) { d.traits = MR_TRAIT_BLOCKS; });
    CHECK(rig.rcpt("block").action == Action::reject);
    CHECK(rig.plugin.rc == MR_E_THREAD);
  });
}

TEST_CASE("plugin adapter: serial filters are asked one at a time", "[plugin]") {
  test::on_loop_to_end([] {
    const bool serial = GENERATE(true, false);
    Rig rig(5s, [&](mr_descriptor& d) { d.threads = serial ? MR_THREADS_SERIAL : MR_THREADS_FREE; });
    rig.resolver.delay = 20ms;
    int done = 0;
    for (int i = 0; i < 3; ++i) {
      REQUIRE(net::Loop::current().spawn(net::Stack::session, [&] {
        filter::ChainSession session(rig.chain, rig.facts, nullptr, log::Logger());
        filter::Context context{.session = rig.facts, .envelope = rig.envelope, .typed = "dns"};
        CHECK(session.at(Stage::rcpt, context).action == Action::proceed);
        ++done;
      }));
    }
    Rig::wait_for([&] { return done == 3; });
    CHECK(rig.resolver.most_at_once == (serial ? 1 : 3));
  });
}

TEST_CASE("plugin adapter: a message is read, and edited as declared", "[plugin]") {
  test::on_loop_to_end([] {
    Rig rig;
    CHECK(rig.message("read").action == Action::proceed);
    CHECK(rig.plugin.seen == std::vector<std::string>{"2", "Subject=read", std::to_string(MR_E_ABSENT), "2345", "r@y",
                                                      "192.0.2.7", std::to_string(MR_E_ABSENT)});
    CHECK(rig.message("undeclared").action == Action::proceed);
    CHECK(rig.plugin.rc == MR_E_DENIED);
    CHECK(rig.instance->counters().misbehaved == 1);
    CHECK(rig.content.headers.back().text() == "X-Mine: yes");
    CHECK(rig.content.body.memory() == "0123456789\r\n");
    rig.plugin.seen.clear();
    rig.message("bad-edits");
    CHECK(rig.plugin.rc == MR_E_ARGUMENT);
    CHECK(rig.plugin.second == MR_E_ABSENT);
    CHECK(rig.plugin.seen == std::vector<std::string>{std::to_string(MR_E_ARGUMENT)});
    rig.rcpt("early-edit");
    CHECK(rig.plugin.rc == MR_E_STAGE);
    CHECK(rig.message("edit-then-late").text == "default");
    CHECK(rig.content.headers.size() == 3);
    CHECK(rig.message("edit-then-fail").text == "default");
    CHECK(rig.content.headers.size() == 3);
  });
}

TEST_CASE("plugin adapter: abort, close, accept and stop", "[plugin]") {
  test::on_loop_to_end([] {
    Rig rig;
    rig.session->abort();
    CHECK(rig.plugin.seen.empty());   // never called: nothing to end
    CHECK(rig.rcpt("accept").action == Action::proceed);
    CHECK(rig.rcpt("reject").action == Action::proceed);   // content with this message
    rig.session->abort();
    CHECK(rig.plugin.seen == std::vector<std::string>{"abort"});
    CHECK(rig.rcpt("reject").action == Action::reject);
    rig.session.reset();
    Rig::pause(5ms);
    CHECK(rig.plugin.closed == 1);
    rig.chain = {};
    rig.instance.reset();
    CHECK(rig.plugin.stopped == 1);
  });
}

TEST_CASE("plugin options: keys become JSON, common ones do not, unknown ones are refused", "[plugin]") {
  Rig rig;
  const auto make = [&](std::string_view element) {
    auto library = plugin::Library::from_entry("hostile", &kEntry);
    REQUIRE(library);
    return plugin::make_filter(*library, element, plugin::Host());
  };
  const auto good = make("{ plugin:hostile, a=1, { b = two words }, timeout=5s, shadow=yes, default_action=accept }");
  REQUIRE(good);
  CHECK(configured == R"({"a":"1","b":"two words"})");
  CHECK((*good)->name() == "plugin:hostile");
  CHECK((*good)->options.shadow);
  CHECK((*good)->options.timeout == 5s);
  CHECK((*good)->options.default_action.action == Action::proceed);
  CHECK((*make("plugin:hostile/hostile"))->options.timeout == 30s);
  const auto why = [&](std::string_view element) {
    const auto result = make(element);
    return result ? "made" : result.error().context;
  };
  CHECK(why("{plugin:hostile, refuse=1}") == "plugin hostile: does not take its configuration: I will not");
  CHECK(why("plugin:hostile/other") == "plugin hostile has no filter \"other\"");
  CHECK(why("{plugin:hostile, timeout=soon}") == "timeout: \"soon\" is not a time");
  CHECK(why("{plugin:hostile, default_action=x}") == "default_action: \"x\" is no such action");
  CHECK(why("hostile") == "\"hostile\" does not begin with plugin:");
  descriptor.config_schema = R"({"n": {"type": "integer"}})";
  CHECK(why("{plugin:hostile, n=5}") == "made");
  CHECK(why("{plugin:hostile, n=five}") == "plugin hostile: n: \"five\" is no integer");
  CHECK(why("{plugin:hostile, m=5}") == "plugin hostile: unknown key \"m\"");
  static const char* const needs[] = {"mr.dns/1", nullptr};
  descriptor.required_interfaces = needs;
  CHECK(why("plugin:hostile") == "plugin hostile: needs mr.dns/1, which is not there");
}
