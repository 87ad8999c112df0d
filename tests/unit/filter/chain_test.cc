// The chain: order, who ends a stage, failure policy, shadow mode, edits all or nothing.
#include <catch2/catch.hpp>
#include <map>

#include "core/filter/chain.h"
#include "core/filter/element.h"
#include "tests/support/on_loop.h"

using namespace millrace;
using namespace millrace::filter;

namespace {

// A filter that answers as told and writes down what it was asked.
struct Script {
  std::map<Stage, Verdict> answers;
  std::vector<Edit> edits;
  bool wants_rejected = false;
  std::vector<std::string>* diary = nullptr;
};

class ScriptedSession final : public FilterSession {
 public:
  ScriptedSession(const Script& script, std::string name) : script_(script), name_(std::move(name)) {}
  Verdict at(Stage stage, Context& context) override {
    note(stage_name(stage), context);
    context.envelope.hold_reason = name_;
    const auto found = script_.answers.find(stage);
    return found == script_.answers.end() ? Verdict{} : found->second;
  }
  Verdict message(Context& context, const mime::Message& message, Journal& journal) override {
    note("message " + std::to_string(message.headers.size()), context);
    for (const Edit& edit : script_.edits) journal.add(edit);
    const auto found = script_.answers.find(Stage::eom);
    return found == script_.answers.end() ? Verdict{} : found->second;
  }
  void abort() override { script_.diary->push_back(name_ + " abort"); }
  bool wants_rejected() const override { return script_.wants_rejected; }

 private:
  void note(std::string_view what, const Context& context) {
    script_.diary->push_back(name_ + " " + std::string(what) + (context.rejected ? " (rejected)" : ""));
  }
  const Script& script_;
  std::string name_;
};

class ScriptedFilter final : public Filter {
 public:
  ScriptedFilter(std::string name, Script script) : script_(std::move(script)), name_(std::move(name)) {}
  std::unique_ptr<FilterSession> open(const SessionFacts&) override {
    return std::make_unique<ScriptedSession>(script_, name_);
  }
  const std::string& name() const override { return name_; }

 private:
  Script script_;
  std::string name_;
};

struct Recorder final : TraceSink {
  void record(const SessionFacts&, TraceLine line) override { lines.push_back(std::move(line)); }
  std::vector<TraceLine> lines;
};

struct Bench {
  Chain chain;
  SessionFacts facts;
  mime::Envelope envelope;
  mime::Message message;
  std::vector<std::string> diary;
  Recorder trace;
  std::optional<ChainSession> session;

  ScriptedFilter& add(const std::string& name, Script script) {
    script.diary = &diary;
    auto filter = std::make_shared<ScriptedFilter>(name, std::move(script));
    chain.add(filter);
    return *filter;
  }
  ChainSession& open() {
    if (!session) session.emplace(chain, facts, &trace, log::Logger());
    return *session;
  }
  Verdict at(Stage stage) {
    Context context{.session = facts, .envelope = envelope};
    return open().at(stage, context);
  }
  Verdict content() {
    Context context{.session = facts, .envelope = envelope};
    return open().message(context, message, -1);
  }
};

using Diary = std::vector<std::string>;

}  // namespace

TEST_CASE("chain: the first refusal ends the stage", "[filter]") {
  Bench bench;
  bench.add("a", {});
  bench.add("b", {.answers = {{Stage::mail, Verdict::reply(550, "5.7.1", "no")}}});
  bench.add("c", {});
  const Verdict verdict = bench.at(Stage::mail);
  CHECK(verdict.action == Action::reject);
  CHECK(verdict.code == 550);
  CHECK(bench.diary == Diary{"a mail", "b mail"});
  CHECK(bench.open().last_filter() == "b");
}

TEST_CASE("chain: a refused recipient is told to those who want to know", "[filter]") {
  Bench bench;
  bench.add("a", {.answers = {{Stage::rcpt, Verdict::reply(450, "4.7.1", "later")}}});
  bench.add("b", {});
  bench.add("c", {.answers = {{Stage::rcpt, Verdict::reply(550, "5.0.0", "ignored")}}, .wants_rejected = true});
  CHECK(bench.at(Stage::rcpt).code == 450);
  CHECK(bench.diary == Diary{"a rcpt", "c rcpt (rejected)"});
  CHECK(bench.open().last_filter() == "a");
}

TEST_CASE("chain: accept silences its filter, for the transaction or the session", "[filter]") {
  Verdict accept;
  accept.action = Action::accept;
  Bench bench;
  bench.add("a", {.answers = {{Stage::helo, accept}}});
  bench.add("b", {.answers = {{Stage::mail, accept}}});
  bench.at(Stage::helo);
  bench.at(Stage::mail);
  bench.at(Stage::rcpt);
  bench.open().abort();
  bench.at(Stage::mail);
  CHECK(bench.diary == Diary{"a helo", "b helo", "b mail", "a abort", "b abort", "b mail"});
}

TEST_CASE("chain: quarantine waits for what the others say", "[filter]") {
  Verdict hold;
  hold.action = Action::quarantine;
  Bench bench;
  bench.add("a", {.answers = {{Stage::eom, hold}}});
  bench.add("b", {.answers = {{Stage::data, hold}, {Stage::eom, Verdict::reply(554, "5.7.1", "worse")}}});
  CHECK(bench.content().code == 554);
  CHECK(bench.at(Stage::data).action == Action::quarantine);
}

TEST_CASE("chain: a filter that fails gives its default action and none of its edits", "[filter]") {
  Bench bench;
  Verdict broken = Verdict::fail("a: it broke");
  broken.action = Action::accept;
  auto& a = bench.add("a", {.answers = {{Stage::eom, broken}, {Stage::mail, broken}},
                            .edits = {{Edit::Kind::add_header, 0, "X-A", "1"}}});
  a.options.default_action = Verdict::reply(451, "4.7.1", "Service unavailable");
  CHECK(bench.at(Stage::mail).code == 451);
  CHECK(bench.content().code == 451);
  CHECK(bench.message.headers.empty());
  a.options.default_action = {};
  CHECK(bench.content().action == Action::proceed);
  CHECK(bench.message.headers.empty());
  REQUIRE(bench.trace.lines.size() == 3);
  CHECK(bench.trace.lines[0].failure == "a: it broke");
  CHECK(bench.trace.lines[0].code == 451);
}

TEST_CASE("chain: later filters see the edits of earlier ones, and an impossible edit is a failure", "[filter]") {
  Bench bench;
  bench.add("a", {.edits = {{Edit::Kind::add_header, 0, "X-A", "1"}}});
  auto& b = bench.add("b", {.edits = {{Edit::Kind::add_header, 0, "X-B", "1"}, {Edit::Kind::add_header, 0, "bad:name", "1"}}});
  b.options.default_action = Verdict::reply(451, "4.7.1", "b is broken");
  CHECK(bench.content().text == "b is broken");
  CHECK(bench.diary == Diary{"a message 0", "b message 1"});
  REQUIRE(bench.message.headers.size() == 1);
  CHECK(bench.message.headers[0].text() == "X-A: 1");
  CHECK(bench.open().edit_log() == Diary{"add header X-A: 1"});
}

TEST_CASE("chain: a shadow filter is recorded and changes nothing", "[filter]") {
  Bench bench;
  auto& a = bench.add("a", {.answers = {{Stage::rcpt, Verdict::reply(550, "5.7.1", "no")},
                                        {Stage::eom, Verdict::reply(554, "5.7.1", "never")}},
                            .edits = {{Edit::Kind::add_header, 0, "X-A", "1"}}});
  a.options.shadow = true;
  bench.add("b", {});
  CHECK(bench.at(Stage::rcpt).action == Action::proceed);
  CHECK(bench.envelope.hold_reason == "b");
  CHECK(bench.content().action == Action::proceed);
  CHECK(bench.message.headers.empty());
  CHECK(bench.diary == Diary{"a rcpt", "b rcpt", "a message 0", "b message 0"});
  REQUIRE(bench.trace.lines.size() == 2);
  CHECK(bench.trace.lines[0].shadow);
  CHECK(bench.trace.lines[0].code == 550);
  CHECK(bench.trace.lines[1].edits == Diary{"add header X-A: 1"});
  bench.open().abort();
  REQUIRE(bench.trace.lines.size() == 3);
  CHECK(bench.trace.lines[2].stage == "passed");
  CHECK(bench.trace.lines[2].filter == "b");
  CHECK(bench.trace.lines[2].text == "rcpt eom");
}

TEST_CASE("chain: a filter's deadline is the stage's, cut by its own timeout", "[filter]") {
  struct Watch final : FilterSession, Filter {
    Verdict at(Stage, Context& context) override {
      *seen = context.deadline;
      return {};
    }
    Verdict message(Context&, const mime::Message&, Journal&) override { return {}; }
    void abort() override {}
    std::unique_ptr<FilterSession> open(const SessionFacts&) override {
      auto session = std::make_unique<Watch>();
      session->seen = seen;
      return session;
    }
    const std::string& name() const override { return name_; }
    Deadline* seen = nullptr;
    std::string name_ = "watch";
  };
  Deadline seen;
  auto watch = std::make_shared<Watch>();
  watch->seen = &seen;
  watch->options.timeout = std::chrono::seconds(5);
  Chain chain;
  chain.add(watch);
  SessionFacts facts;
  mime::Envelope envelope;
  ChainSession session(chain, facts, nullptr, log::Logger());
  Context context{.session = facts, .envelope = envelope};
  session.at(Stage::mail, context);
  CHECK(seen.at < SteadyClock::now() + std::chrono::seconds(6));
  CHECK(context.deadline.at == TimePoint::max());
  context.deadline = Deadline::after(std::chrono::seconds(1));
  session.at(Stage::mail, context);
  CHECK(seen.at == context.deadline.at);
}

TEST_CASE("chain: a circuit breaker opens after failures, is answered by default_action, and lets one probe through", "[filter][breaker]") {
  auto shared = std::make_unique<SharedFilters>();
  Bench bench;
  Script failing;
  failing.answers[Stage::mail] = Verdict::fail("it is down");
  ScriptedFilter& filter = bench.add("a", failing);
  filter.options.breaker = BreakerRule{2, std::chrono::seconds(0), std::chrono::seconds(0)};
  filter.options.default_action = *default_action_verdict("accept");
  bench.chain.share(*shared, 0);
  const auto mail = [&] {
    Context context{.session = bench.facts, .envelope = bench.envelope};
    bench.session.reset();
    return bench.open().at(Stage::mail, context);
  };
  mail();
  CHECK_FALSE(filter.shared->is_open());
  mail();
  CHECK(filter.shared->is_open());
  CHECK(bench.diary.size() == 2);
  filter.options.breaker.open = std::chrono::seconds(100);
  filter.shared->open_until_us = INT64_MAX;
  CHECK(mail().action == Action::proceed);
  CHECK(bench.diary.size() == 2);   // not asked
  filter.options.breaker.grace = std::chrono::seconds(100);
  CHECK(mail().action == Action::tempfail);
  filter.shared->open_until_us = 1;
  filter.shared->probe_until_us = 0;
  mail();
  CHECK(bench.diary.size() == 3);   // one may try
  filter.shared->open_until_us = 1;
  filter.shared->probe_until_us = INT64_MAX;
  mail();
  CHECK(bench.diary.size() == 3);   // and no second one meanwhile
  CHECK(status_text(*shared).find("filter a: calls=6") != std::string::npos);
  CHECK(prometheus_text(*shared).find("millrace_filter_failures_total{filter=\"a\"} 6") != std::string::npos);
}

TEST_CASE("chain: a failure on a message's content opens no breaker towards accept", "[filter][breaker]") {
  auto shared = std::make_unique<SharedFilters>();
  Bench bench;
  Script failing;
  failing.answers[Stage::eom] = Verdict::fail("it chokes on this");
  ScriptedFilter& filter = bench.add("a", failing);
  filter.options.breaker.failures = 1;
  bench.chain.share(*shared, 0);
  Context context{.session = bench.facts, .envelope = bench.envelope};
  bench.open().message(context, bench.message, -1);
  CHECK_FALSE(filter.shared->is_open());
}

TEST_CASE("chain: connections are counted over all processes and forgotten with a process", "[filter]") {
  auto shared = std::make_unique<SharedFilters>();
  SharedFilter* const slot = shared->find("x");
  REQUIRE(slot == shared->find("x"));
  CHECK(shared->find("y") != slot);
  CHECK(slot->enter(2, 0));
  CHECK(slot->enter(2, 1));
  CHECK_FALSE(slot->enter(2, 0));
  shared->forget_process(1);
  CHECK(slot->enter(2, 0));
  slot->leave(0);
  CHECK(slot->connections == 1);
}

TEST_CASE("chain: parallel filters see the same message; their edits come in list order", "[filter][parallel]") {
  test::on_loop([&] {
    Bench bench;
    for (const char* name : {"a", "b", "c"}) {
      Script script;
      script.edits.push_back({Edit::Kind::add_header, 0, std::string("X-") + name, "1", false});
      bench.add(name, script).options.parallel = std::string_view(name) != "c";
    }
    Context context{.session = bench.facts, .envelope = bench.envelope};
    CHECK_FALSE(bench.open().message(context, bench.message, -1).stops());
    CHECK(std::count(bench.diary.begin(), bench.diary.end(), "a message 0") == 1);
    CHECK(std::count(bench.diary.begin(), bench.diary.end(), "b message 0") == 1);
    CHECK(bench.diary.back() == "c message 2");
    std::string names;
    for (const auto& header : bench.message.headers) names += std::string(header.name()) + " ";
    CHECK(names == "X-a X-b X-c ");
  });
}

TEST_CASE("chain: the breaker's rule as text", "[filter][breaker]") {
  CHECK(parse_breaker("5")->failures == 5);
  CHECK(parse_breaker("5/10s/2m")->grace == std::chrono::minutes(2));
  for (const char* text : {"", "x", "5/", "5/x", "1/2/3/4"}) CHECK_FALSE(parse_breaker(text));
}
