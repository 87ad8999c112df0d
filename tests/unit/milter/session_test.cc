// Conversations with a scripted filter, through the chain.
#include <catch2/catch.hpp>

#include "core/milter/session.h"
#include "tests/support/on_loop.h"
#include "tests/support/scripted_milter.h"

using namespace millrace;
using namespace std::literals;
using filter::Action;
using filter::Stage;
using test::packet;
using test::ScriptedMilter;
using Events = std::vector<std::string>;

namespace {

const milter::Options kAll{6, 0x1ff, 0, {}};

ScriptedMilter::Script always(std::string answer) {
  return [answer](char command, const std::string&) { return command == 'O' ? "" : answer; };
}

// An SMTP session as the chain sees it.
class Client {
 public:
  explicit Client(const ScriptedMilter& milter, const std::string& main_cf = "", const std::string& block = "",
                  std::shared_ptr<const map::Maps> header_checks = nullptr) {
    config::Findings findings;
    const auto config = config::Config::from_text(
        "myhostname = mx.example\nmilter_connect_macros=j {client_addr}\nmilter_helo_macros=\nmilter_mail_macros=i {mail_addr}\n"
        "milter_rcpt_macros=\nmilter_data_macros=\nmilter_end_of_header_macros=i\nmilter_end_of_data_macros=\n"
        "milter_connect_timeout=2s\nmilter_command_timeout=1s\nmilter_content_timeout=1s\n" + main_cf, "", findings);
    milter::Host host;
    host.header_checks = std::move(header_checks);
    findings = {};
    const std::string service = "unix:" + milter.path();
    auto filters = milter::make_filters(*config, config->params(), block.empty() ? service : "{" + service + "," + block + "}",
                                        findings, host);
    REQUIRE_FALSE(findings.has_errors());
    REQUIRE(filters.size() == 1);
    filter = filters[0];
    chain.add(filter);
    facts.client_address = "192.0.2.7";
    facts.client_port = "1234";
    facts.client_name = facts.reverse_client_name = "c.example";
    open();
  }
  void open() { session.emplace(chain, facts, nullptr, log::Logger()); }

  filter::Verdict at(Stage stage, std::string_view typed = {}, std::vector<std::string_view> parameters = {}) {
    filter::Context context{.session = facts, .envelope = envelope, .typed = typed, .parameters = std::move(parameters)};
    return session->at(stage, context);
  }
  filter::Verdict message() {
    filter::Context context{.session = facts, .envelope = envelope};
    return session->message(context, content, -1);
  }
  // The content as it arrives, the body in pieces of `step`.
  void stream(std::size_t step) {
    filter::Context context{.session = facts, .envelope = envelope};
    session->stream_headers(context, content.headers);
    const std::string& body = content.body.memory();
    for (std::size_t at = 0; at < body.size(); at += step) session->stream_body(context, std::string_view(body).substr(at, step));
  }
  filter::Verdict whole() {
    for (const auto& [stage, typed] : {std::pair(Stage::connect, ""sv), {Stage::helo, "h"sv}, {Stage::mail, "<a@b>"sv},
                                       {Stage::rcpt, "<c@d>"sv}, {Stage::data, ""sv}}) {
      if (auto verdict = at(stage, typed); verdict.stops()) return verdict;
    }
    return message();
  }
  void header(std::string_view name, std::string_view value) { content.headers.push_back(mime::Header::make(name, value)); }

  std::shared_ptr<filter::Filter> filter;
  filter::Chain chain;
  filter::SessionFacts facts;
  mime::Envelope envelope;
  mime::Message content;
  std::optional<filter::ChainSession> session;
};

}  // namespace

TEST_CASE("milter session: events and macros of a message, as Postfix sends them", "[milter]") {
  ScriptedMilter peer(kAll, always(packet('c')));
  test::on_loop_to_end([&] {
    Client client(peer);
    client.envelope.queue_id = "QID";
    client.envelope.sender = "a@b";
    client.header("Subject", "one\n\ttwo");
    client.content.headers.push_back(mime::Header("X:  three", 1));
    REQUIRE(client.content.body.append("body\r\n"));
    CHECK(client.at(Stage::connect).action == Action::proceed);
    CHECK(client.at(Stage::helo, "h.example").action == Action::proceed);
    CHECK(client.at(Stage::unknown, "FOO bar").action == Action::proceed);
    CHECK(client.at(Stage::mail, "<a@b>", {"SIZE=5", "BODY=8BITMIME"}).action == Action::proceed);
    CHECK(client.at(Stage::rcpt, "<c@d>").action == Action::proceed);
    CHECK(client.at(Stage::data).action == Action::proceed);
    CHECK(client.message().action == Action::proceed);
    client.session->abort();
    CHECK(client.at(Stage::mail, "<>").action == Action::proceed);
    client.session->abort();
    client.session->close();
  });
  CHECK(peer.events() ==
        Events{"D Cj|mx.example|{client_addr}|192.0.2.7|", "C c.example|4\x04\xd2" "192.0.2.7|", "H h.example|", "U FOO|",
               "D Mi|QID|{mail_addr}|a@b|", "M <a@b>|SIZE=5|BODY=8BITMIME|", "R <c@d>|", "T",
               "D Li|QID|", "L Subject|one\n\ttwo|", "D Li|QID|", "L X| three|", "D Ni|QID|", "N", "B body\r\n", "E", "A",
               "D Mi|QID|{mail_addr}||", "M <>|", "A", "Q"});
}

TEST_CASE("milter session: the end of the session says QUIT by itself", "[milter]") {
  ScriptedMilter peer(kAll, always(packet('c')));
  test::on_loop_to_end([&] {
    Client client(peer);
    client.at(Stage::connect);
    client.session.reset();
    REQUIRE(net::sleep_until(Deadline::after(20ms)));
  });
  CHECK(peer.events().back() == "Q");
}

TEST_CASE("milter session: answers to commands", "[milter]") {
  struct Case { std::string_view answer; Action action; int code; std::string_view enhanced, text; };
  const auto c = GENERATE(values<Case>({
      {"\0\0\0\1r"sv, Action::reject, 550, "5.7.1", "Command rejected"},
      {"\0\0\0\1t"sv, Action::tempfail, 451, "4.7.1", "Service unavailable - try again later"},
      {"\0\0\0\1"
       "4"sv, Action::disconnect, 421, "4.7.0", "Server closing connection"},
      {"\0\0\0\x0ey550 5.7.9 no\0"sv, Action::reject, 550, "5.7.9", "no"},
      {"\0\0\0\1a"sv, Action::proceed, 0, "", ""},   // the others are still asked
      {"\0\0\0\1d"sv, Action::discard, 0, "", "milter triggers DISCARD action"},
      {"\0\0\0\1p\0\0\0\1p\0\0\0\1c"sv, Action::proceed, 0, "", ""},
      {"\0\0\0\6qwhy?\0\0\0\1c"sv, Action::tempfail, 451, "4.7.1", "Service unavailable - try again later"},
      {"\0\0\0\1?"sv, Action::tempfail, 451, "4.7.1", "Service unavailable - try again later"},
      {"\0\0\0\1f"sv, Action::tempfail, 451, "4.7.1", "Service unavailable - try again later"},
      {"\0\0\0\2cc"sv, Action::tempfail, 451, "4.7.1", "Service unavailable - try again later"},
      {"\0\0\0\0"sv, Action::tempfail, 451, "4.7.1", "Service unavailable - try again later"},
      {"\xff\xff\xff\xff"sv, Action::tempfail, 451, "4.7.1", "Service unavailable - try again later"},
      {"\0\0\0\5hA\0b\0"sv, Action::tempfail, 451, "4.7.1", "Service unavailable - try again later"},
      {"\0\0\0\x0ay250 ok ok\0"sv, Action::tempfail, 451, "4.3.5", "Server configuration problem - try again later"},
      {""sv, Action::tempfail, 451, "4.7.1", "Service unavailable - try again later"},   // no answer at all
  }));
  CAPTURE(c.answer);
  ScriptedMilter peer(kAll, [&](char command, const std::string&) {
    return command == 'O' ? "" : command == 'M' ? std::string(c.answer) : packet('c');
  });
  test::on_loop_to_end([&] {
    Client client(peer);
    client.at(Stage::connect);
    const auto verdict = client.at(Stage::mail, "<a@b>");
    CHECK(verdict.action == c.action);
    CHECK(verdict.code == c.code);
    CHECK(verdict.enhanced == c.enhanced);
    CHECK(verdict.text == c.text);
    CHECK_FALSE(verdict.sticky);
    if (verdict.refuses()) CHECK(verdict.reason_id == "milter-reject");
  });
}

TEST_CASE("milter session: what is said of the session at connect and helo sticks", "[milter]") {
  const auto stage = GENERATE(Stage::connect, Stage::helo);
  ScriptedMilter peer(kAll, [&](char command, const std::string&) {
    return command == 'O' ? "" : packet(command == (stage == Stage::connect ? 'C' : 'H') ? 'r' : 'c');
  });
  test::on_loop_to_end([&] {
    Client client(peer);
    if (stage == Stage::helo) client.at(Stage::connect);
    const auto verdict = client.at(stage, "h");
    CHECK(verdict.action == Action::reject);
    CHECK(verdict.sticky);
    CHECK(client.at(Stage::mail, "<a@b>").action == Action::reject);
    client.session.reset();
  });
  CHECK(peer.events().back() == "EOF");
}

TEST_CASE("milter session: accept and discard end a filter's interest in the message, or the session", "[milter]") {
  const auto [stage, command] = GENERATE(values<std::pair<Stage, char>>(
      {{Stage::connect, 'C'}, {Stage::helo, 'H'}, {Stage::mail, 'M'}, {Stage::rcpt, 'R'}, {Stage::data, 'T'}}));
  CAPTURE(command);
  ScriptedMilter peer(kAll, [&, command = command](char c, const std::string&) {
    return c == 'O' ? "" : packet(c == command ? 'a' : 'c');
  });
  const Stage at = stage;
  test::on_loop_to_end([&] {
    Client client(peer);
    client.header("A", "b");
    CHECK(client.whole().action == Action::proceed);
    client.session->abort();
    const bool session = at == Stage::connect || at == Stage::helo;
    CHECK(client.at(Stage::mail, "<2>").action == Action::proceed);
    client.session.reset();
    net::sleep_until(Deadline::after(20ms));
    const Events events = peer.events();
    CHECK((std::find(events.begin(), events.end(), "M <2>|") != events.end()) == !session);
    CHECK(std::find(events.begin(), events.end(), "N") == events.end());
  });
}

TEST_CASE("milter session: edits at the end of the message", "[milter]") {
  const std::string edits = packet('h', "X-Added\0one\0"sv) + packet('i', "\0\0\0\0X-Top\0top\0"sv) +
                            packet('m', "\0\0\0\1Subject\0changed\0"sv) + packet('m', "\0\0\0\0Gone\0\0"sv) +
                            packet('+', "<new@d>\0"sv) + packet('-', "<c@d>\0"sv) +
                            packet('2', "<par@d>\0NOTIFY=NEVER\0"sv) + packet('e', "<s@d>\0RET=HDRS\0"sv) +
                            packet('b', "new\nbo") + packet('p') + packet('b', "dy\r\n.\rx");
  const auto [last, action] = GENERATE(values<std::pair<std::string, Action>>(
      {{packet('c'), Action::proceed}, {packet('a'), Action::accept}, {packet('q', "spam\0"sv) + packet('c'), Action::quarantine},
       {packet('r'), Action::reject}, {packet('d'), Action::discard}, {packet('?'), Action::tempfail}}));
  const std::string end = last;
  const Action expected = action;
  ScriptedMilter peer(kAll, [&](char c, const std::string&) {
    return c == 'O' ? "" : c == 'E' ? edits + end : packet('c');
  });
  test::on_loop_to_end([&] {
    Client client(peer);
    client.header("Subject", "old");
    client.header("Gone", "x");
    client.envelope.sender = "a@b";
    client.envelope.recipients = {{"c@d", "c@d", "", 0}};
    REQUIRE(client.content.body.append("old\r\n"));
    const auto verdict = client.whole();
    if (expected == Action::accept) {
      CHECK_FALSE(verdict.stops());
    } else {
      CHECK(verdict.action == expected);
    }
    if (expected == Action::quarantine) CHECK(verdict.text == "spam");
    if (verdict.refuses() || expected == Action::discard) {
      CHECK(client.content.header_text() == "Subject: old\r\nGone: x\r\n\r\n");
      CHECK(client.content.body.memory() == "old\r\n");
      CHECK(client.envelope.sender == "a@b");
      CHECK(client.envelope.recipients.size() == 1);
      return;
    }
    CHECK(client.content.header_text() == "X-Top: top\r\nSubject: changed\r\nX-Added: one\r\n\r\n");
    CHECK(client.content.body.memory() == "new\r\nbody\r\n.\r\nx\r\n");
    CHECK(client.envelope.sender == "s@d");
    REQUIRE(client.envelope.recipients.size() == 2);
    CHECK(client.envelope.recipients[0].address == "new@d");
    CHECK(client.envelope.recipients[1].notify == mime::kNotifyNever);
  });
}

TEST_CASE("milter session: a large body goes in pieces of 65535 octets and may be skipped", "[milter]") {
  const bool skip = GENERATE(false, true);
  ScriptedMilter peer({6, 0x1ff, 0x400, {}}, [&](char c, const std::string&) {
    return c == 'O' ? "" : packet(c == 'B' && skip ? 's' : 'c');
  });
  test::on_loop_to_end([&] {
    Client client(peer);
    REQUIRE(client.content.body.append(std::string(140000, 'x') + "\r\n"));
    CHECK(client.whole().action == Action::proceed);
    client.session->close();
  });
  Events bodies;
  for (const std::string& line : peer.events()) {
    if (line[0] == 'B') bodies.push_back(line);
  }
  CHECK(bodies == (skip ? Events{"B (65535 octets)"} : Events{"B (65535 octets)", "B (65535 octets)", "B (8932 octets)"}));
}

TEST_CASE("milter session: negotiation leaves out events, answers and old versions' unknowns", "[milter]") {
  namespace p = milter::protocol;
  struct Case { std::uint32_t version, bits; std::string_view events; };
  const auto c = GENERATE(values<Case>({
      {6, 0, "CHURTLLNBE"},
      {6, p::kNoConnect | p::kNoHelo | p::kNoUnknown | p::kNoRcpt, "TLLNBE"},
      {6, p::kNoHeaders | p::kNoEndOfHeaders, "CHURTBE"},
      {6, p::kNoBody | p::kNoData, "CHURLLNE"},
      {4, 0, "CHURTLLNBE"},
      {3, 0, "CHURLLNBE"},
      {2, 0, "CHRLLNBE"},
      {2, p::kNoUnknown | p::kNoData, "CHRLLNBE"},
      {6, 0xff080 & ~p::kNoReplyBody, "CHURTLLNBE"},   // no answers
      {6, 0xff080 | 0x30000000, "CHURTLLNBE"},          // and bits nobody offered
  }));
  CAPTURE(c.version, c.bits);
  ScriptedMilter peer({c.version, 0x1ff, c.bits, {}}, [&](char command, const std::string&) {
    const bool silent = (c.bits & p::kNoReplyHeader) != 0 && command != 'E' && !(command == 'B' && !(c.bits & p::kNoReplyBody));
    return command == 'O' || silent ? "" : packet('c');
  });
  test::on_loop_to_end([&] {
    Client client(peer);
    client.header("A", "1");
    client.header("B", "2");
    REQUIRE(client.content.body.append("x\r\n"));
    client.at(Stage::connect);
    client.at(Stage::helo, "h");
    client.at(Stage::unknown, "FOO");
    client.at(Stage::rcpt, "<c@d>");
    client.at(Stage::data);
    CHECK(client.message().action == Action::proceed);
    client.session->close();
  });
  std::string seen;
  for (const std::string& line : peer.events()) {
    if (line[0] != 'D' && line[0] != 'Q' && line[0] != 'A') seen += line[0];
  }
  CHECK(seen == c.events);
}

TEST_CASE("milter session: macro lists the filter asks for, leading space, refused recipients", "[milter]") {
  milter::Options options{6, 0x1ff, milter::protocol::kLeadingSpace | milter::protocol::kRejectedRcpt, {}};
  options.macros[0] = "{daemon_name}";
  options.macros[3] = "{rcpt_mailer} {rcpt_host} {rcpt_addr}";
  ScriptedMilter peer(options, always(packet('c')));
  test::on_loop_to_end([&] {
    Client client(peer, "milter_macro_daemon_name = D\n");
    client.header("A", "1");
    client.at(Stage::connect);
    filter::Context context{.session = client.facts, .envelope = client.envelope, .typed = "<x@y>", .rejected = true};
    context.rejection = filter::Verdict::reply(454, "4.7.1", "<x@y>: Relay access denied");
    client.session->at(Stage::rcpt, context);
    CHECK(client.message().action == Action::proceed);
    client.session->close();
  });
  CHECK(peer.events() == Events{"D C{daemon_name}|D|", "C c.example|4\x04\xd2" "192.0.2.7|",
                                "D R{rcpt_mailer}|error|{rcpt_host}|4.7.1|{rcpt_addr}|Relay access denied|", "R <x@y>|",
                                "L A| 1|", "N", "E", "Q"});
}

TEST_CASE("milter session: a filter that is not there, hangs, closes or babbles gets its default action", "[milter]") {
  struct Policy { std::string_view name; Action action; int code; };
  const auto policy = GENERATE(values<Policy>({{"tempfail", Action::tempfail, 451}, {"reject", Action::reject, 550},
                                               {"accept", Action::proceed, 0}, {"quarantine", Action::quarantine, 0},
                                               {"shutdown", Action::disconnect, 421}}));
  const char where = GENERATE('O', 'C', 'M', 'L', 'B', 'E');
  const int how = GENERATE(0, 1, 2);
  CAPTURE(policy.name, where, how);
  if (how == 1 && where != 'M' && where != 'E') return;   // waiting takes a second each
  ScriptedMilter peer(kAll, [&](char command, const std::string&) -> std::optional<std::string> {
    if (command == where && how == 0) return std::nullopt;
    if (command == where && how == 1) { usleep(1100 * 1000); return std::nullopt; }
    if (command == where) return "\0\0\0\1?garbage"s;
    if (command == 'E') return packet('h', "X-Half\0done\0"sv) + packet('c');
    return command == 'O' ? "" : packet('c');
  });
  test::on_loop_to_end([&] {
    Client client(peer, "", "default_action=" + std::string(policy.name));
    client.header("A", "1");
    REQUIRE(client.content.body.append("x\r\n"));
    const auto verdict = client.whole();
    CHECK(verdict.action == policy.action);
    CHECK(verdict.code == policy.code);
    CHECK(client.content.headers.size() == 1);
    client.session->abort();
    CHECK(client.at(Stage::mail, "<again@b>").action == policy.action);   // dead for the session
  });
}

TEST_CASE("milter session: connections beyond the limit wait, and not for ever", "[milter]") {
  ScriptedMilter peer(kAll, always(packet('c')));
  test::on_loop_to_end([&] {
    Client client(peer, "", "max_connections=1, connect_timeout=1s");
    CHECK(client.at(Stage::connect).action == Action::proceed);
    filter::ChainSession second(client.chain, client.facts, nullptr, log::Logger());
    filter::Context context{.session = client.facts, .envelope = client.envelope};
    const auto verdict = second.at(Stage::connect, context);
    CHECK(verdict.action == Action::tempfail);
    CHECK(verdict.sticky);
    client.session.reset();
    filter::ChainSession third(client.chain, client.facts, nullptr, log::Logger());
    CHECK(third.at(Stage::connect, context).action == Action::proceed);
  });
}

TEST_CASE("milter session: nobody listens", "[milter]") {
  std::unique_ptr<ScriptedMilter> peer = std::make_unique<ScriptedMilter>(kAll, always(packet('c')));
  test::on_loop_to_end([&] {
    Client client(*peer);
    peer.reset();
    const auto verdict = client.at(Stage::connect);
    CHECK(verdict.action == Action::tempfail);
    CHECK(verdict.sticky);
    CHECK(client.at(Stage::mail, "<a@b>").code == 451);
  });
}

TEST_CASE("milter session: a pooled connection serves the next session without a new negotiation", "[milter]") {
  ScriptedMilter peer(kAll, always(packet('c')));
  test::on_loop_to_end([&] {
    Client client(peer, "", "pool=yes, pool_idle=1s");
    client.at(Stage::connect);
    client.at(Stage::mail, "<a@b>");
    client.session->abort();
    client.session->close();
    client.open();
    client.at(Stage::connect);
    CHECK(client.at(Stage::mail, "<b@b>").action == Action::proceed);
    client.session->abort();
    client.session->close();
    REQUIRE(net::sleep_until(Deadline::after(1100ms)));
  });
  Events seen;
  for (const std::string& line : peer.events()) {
    if (line[0] != 'D') seen.push_back(line);
  }
  CHECK(seen == Events{"C c.example|4\x04\xd2" "192.0.2.7|", "M <a@b>|", "A", "K", "C c.example|4\x04\xd2" "192.0.2.7|", "M <b@b>|", "A", "K", "Q"});
}

TEST_CASE("milter session: a pooled connection that was closed meanwhile is not used", "[milter]") {
  ScriptedMilter peer(kAll, [](char command, const std::string&) -> std::optional<std::string> {
    if (command == 'K') return std::nullopt;
    return command == 'O' ? "" : packet('c');
  });
  test::on_loop_to_end([&] {
    Client client(peer, "", "pool=yes");
    client.at(Stage::connect);
    client.session->close();
    REQUIRE(net::sleep_until(Deadline::after(50ms)));
    client.open();
    CHECK(client.at(Stage::connect).action == Action::proceed);
    CHECK(client.at(Stage::mail, "<a@b>").action == Action::proceed);
    client.session->close();
  });
}

TEST_CASE("milter session: stream=yes sends the content while it arrives", "[milter]") {
  const std::size_t step = GENERATE(std::size_t{1000}, std::size_t{70000}, std::size_t{200000});
  ScriptedMilter peer(kAll, [](char command, const std::string&) {
    return command == 'O' ? "" : command == 'E' ? packet('h', "X-Done\0yes\0"sv) + packet('c') : packet('c');
  });
  test::on_loop_to_end([&] {
    Client client(peer, "", "stream=yes");
    client.header("A", "1");
    REQUIRE(client.content.body.append(std::string(140000, 'x') + "\r\n"));
    client.at(Stage::connect);
    client.at(Stage::mail, "<a@b>");
    REQUIRE(client.session->streams());
    client.stream(step);
    CHECK(client.message().action == Action::proceed);
    CHECK(client.content.find("X-Done") != nullptr);
    client.session->close();
  });
  Events seen;
  for (const std::string& line : peer.events()) {
    if (line[0] != 'D') seen.push_back(line);
  }
  CHECK(seen == Events{"C c.example|4\x04\xd2" "192.0.2.7|", "M <a@b>|", "L A|1|", "N", "B (65535 octets)", "B (65535 octets)", "B (8932 octets)", "E", "Q"});
}

TEST_CASE("milter session: a refusal of streamed content is told at the end", "[milter]") {
  ScriptedMilter peer(kAll, [](char command, const std::string&) {
    return command == 'O' ? "" : command == 'L' ? packet('y', "554 5.7.1 no\0"sv) : packet('c');
  });
  test::on_loop_to_end([&] {
    Client client(peer, "", "stream=yes");
    client.header("A", "1");
    REQUIRE(client.content.body.append("x\r\n"));
    client.at(Stage::mail, "<a@b>");
    client.stream(1);
    CHECK(client.message().code == 554);
  });
}

TEST_CASE("milter session: milter_header_checks judge what a filter adds", "[milter]") {
  struct Case { std::string_view header; Action action; std::string_view kept; };
  const auto c = GENERATE(values<Case>({{"X-Flag", Action::quarantine, "X-Flag"}, {"X-Drop", Action::discard, ""}, {"X-Bad", Action::reject, ""},
                                        {"X-Edit", Action::proceed, "X-New"}, {"X-Gone", Action::proceed, ""}, {"X-Route", Action::proceed, "X-Route"},
                                        {"X-Pre", Action::proceed, "X-Pre"}, {"X-Fine", Action::proceed, "X-Fine"}}));
  CAPTURE(c.header);
  map::TableSet tables({});
  auto maps = map::Maps::open(tables, "pcre:{{/^X-Flag:\\s+yes/ HOLD spam}, {/^X-Drop/ DISCARD}, {/^X-Bad/ REJECT bad mark}, "
                                      "{/^X-Edit: (.*)/ REPLACE X-New: $1}, {/^X-Gone/ IGNORE}, {/^X-Route/ FILTER smtp:[127.0.0.1]:26}, {/^X-Pre/ PREPEND A: b}}");
  REQUIRE(maps);
  ScriptedMilter peer(kAll, [&](char command, const std::string&) {
    return command == 'O' ? "" : command == 'E' ? packet('h', std::string(c.header) + "\0yes\0"s) + packet('c') : packet('c');
  });
  test::on_loop_to_end([&] {
    Client client(peer, "", "", std::make_shared<const map::Maps>(std::move(*maps)));
    client.header("A", "1");
    CHECK(client.whole().action == c.action);
    CHECK(client.content.headers.size() == (c.kept.empty() ? 1u : 2u));
    if (!c.kept.empty()) CHECK(client.content.headers.back().name() == c.kept);
    CHECK(client.envelope.content_filter == (c.header == "X-Route" ? "smtp:[127.0.0.1]:26" : ""));
  });
}

TEST_CASE("milter session: default_action by traffic class", "[milter]") {
  struct Case { std::string_view sender, login; bool local; Action action; };
  const auto c = GENERATE(values<Case>({{"a@b", "", false, Action::proceed}, {"", "", false, Action::reject}, {"a@b", "joe", false, Action::tempfail},
                                        {"a@b", "", true, Action::quarantine}, {"", "joe", true, Action::reject}}));
  ScriptedMilter peer(kAll, [](char command, const std::string&) -> std::optional<std::string> {
    if (command == 'E') return std::nullopt;
    return command == 'O' ? "" : packet('c');
  });
  test::on_loop_to_end([&] {
    Client client(peer, "", "default_action=accept, default_action_null_sender=reject, default_action_authenticated=tempfail, default_action_local=quarantine");
    client.facts.sasl_username = c.login;
    client.facts.is_local = c.local;
    client.envelope.sender = c.sender;
    CHECK(client.whole().action == c.action);
  });
}
