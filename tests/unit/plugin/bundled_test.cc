// The bundled plugins as they are loaded: the .so files of this build.
#include <catch2/catch.hpp>
#include <filesystem>
#include <sys/stat.h>

#include "core/plugin/options.h"
#include "tests/support/on_loop.h"
#include "tests/support/scripted_resolver.h"

using namespace millrace;
using filter::Action;
using filter::Stage;

namespace {

// A copy that passes the loader's checks whatever the umask of the build was.
const std::string& directory() {
  static const struct Copy {
    Copy() {
      char name[] = "/tmp/bundledXXXXXX";
      path = mkdtemp(name);
      for (const char* const plugin : {"sample", "header_checks"}) {
        const std::string to = path + "/" + plugin + ".so";
        std::filesystem::copy_file(std::string(PLUGIN_BUILD_DIRECTORY "/") + plugin + ".so", to);
        chmod(to.c_str(), 0644);
      }
    }
    ~Copy() { std::filesystem::remove_all(path); }
    std::string path;
  } copy;
  return copy.path;
}

struct Rig {
  explicit Rig(const std::string& element) {
    config::Findings findings;
    const auto config = config::Config::from_text("plugin_directory = " + directory() + "\nmessage_size_limit = 100000\n", "", findings);
    findings = {};
    plugin::Host host;
    host.resolver = [this]() -> net::Resolver* { return &resolver; };
    auto filter = plugin::make_filter(*config, config->params(), element, findings, host);
    if (!filter) problem = findings.lines.at(0).text;
    else chain.add(filter);
    facts.client_address = "192.0.2.7";
    facts.helo_name = "h.example";
    session.emplace(chain, facts, nullptr, log::Logger());
  }
  filter::Verdict rcpt(const std::string& address) {
    const mime::Recipient rcpt{address, address, "", 0};
    filter::Context context{.session = facts, .envelope = envelope, .rcpt = &rcpt};
    return session->at(Stage::rcpt, context);
  }
  filter::Verdict message() {
    filter::Context context{.session = facts, .envelope = envelope};
    return session->message(context, content, -1);
  }
  void header(std::string_view name, std::string_view value) { content.headers.push_back(mime::Header::make(name, value)); }

  std::string problem;
  test::ScriptedResolver resolver;
  filter::Chain chain;
  filter::SessionFacts facts;
  mime::Envelope envelope;
  mime::Message content;
  std::optional<filter::ChainSession> session;
};

}  // namespace

TEST_CASE("sample plugin: recipients, listed clients, a header", "[plugin]") {
  test::on_loop_to_end([] {
    Rig rig("{ plugin:sample, { reject_recipient = spamtrap@ @bad.example x@y.example }, dnsbl=zone.example, header=X-Sample }");
    REQUIRE(rig.problem.empty());
    const auto verdict = rig.rcpt("SpamTrap@dest.example");
    CHECK(verdict.code == 550);
    CHECK(verdict.enhanced == "5.7.1");
    CHECK(verdict.text == "<SpamTrap@dest.example>: Recipient refused by policy");
    CHECK(verdict.reason_id == "sample-recipient");
    CHECK(rig.rcpt("a@BAD.example").action == Action::reject);
    CHECK(rig.rcpt("a@notbad.example").action == Action::proceed);
    CHECK(rig.rcpt("x@y.example").action == Action::reject);
    CHECK(rig.rcpt("xx@y.example").action == Action::proceed);
    CHECK(rig.resolver.questions == std::vector<std::string>{"7.2.0.192.zone.example"});   // once a session
    rig.header("Subject", "s");
    CHECK(rig.message().action == Action::proceed);
    CHECK(rig.content.headers.back().text() == "X-Sample: client=192.0.2.7 helo=h.example");
    rig.resolver.give("7.2.0.192.zone.example", net::DnsType::a, {"127.0.0.2"});
    rig.session.emplace(rig.chain, rig.facts, nullptr, log::Logger());
    CHECK(rig.rcpt("good@y.example").code == 554);
    rig.session.reset();
    CHECK(net::sleep_until(Deadline::after(std::chrono::milliseconds(5))));   // close has a fiber of its own
  });
  CHECK(Rig("{ plugin:sample, reject_recipient=nonsense }").problem.find("has no @") != std::string::npos);
  CHECK(Rig("{ plugin:sample, nonsense=1 }").problem == "plugin sample: unknown key \"nonsense\"");
  CHECK(Rig("plugin:absent").problem.find("No such file") != std::string::npos);
}

TEST_CASE("header_checks plugin: actions on headers and body", "[plugin]") {
  struct Case { std::string rules, body_rules; Action action; int code; std::string text, header, body; };
  const auto c = GENERATE(values<Case>({
      {"/^Subject: two/ REJECT 5.7.9 not this", "", Action::reject, 550, "not this", "", ""},
      {"/^Subject: two/ REJECT 4.7.9 later", "", Action::tempfail, 451, "later", "", ""},
      {"/^Subject: two/ REJECT", "", Action::reject, 550, "message content rejected", "", ""},
      {"/^Subject: two/ DISCARD", "", Action::discard, 0, "", "", ""},
      {"/^Subject: two/ HOLD why", "", Action::quarantine, 0, "why", "", ""},
      {"/^Subject: two/ FILTER smtp:[x]", "", Action::tempfail, 451, "Service unavailable - try again later", "", ""},
      {"/^nothing/ REJECT", "", Action::proceed, 0, "", "", ""},
      {"/^X: (1|3)/ IGNORE", "", Action::proceed, 0, "", "Subject: two\r\nX: 2\r\nLast: z\r\n", ""},
      {"/^X: 2/ REPLACE Y: new", "", Action::proceed, 0, "", "Subject: two\r\nX: 1\r\nY: new\r\nX: 3\r\nLast: z\r\n", ""},
      {"/^X: (.*)/ PREPEND P: $1", "", Action::proceed, 0, "",
       "Subject: two\r\nP: 1\r\nX: 1\r\nP: 2\r\nX: 2\r\nP: 3\r\nX: 3\r\nLast: z\r\n", ""},
      {"", "/^bad/ REJECT no", Action::reject, 550, "no", "", ""},
      {"", "/^b/ IGNORE", Action::proceed, 0, "", "", "a line\r\nlast\r\n"},
      {"", "/^b/ REPLACE new", Action::proceed, 0, "", "", "a line\r\nnew\r\nlast\r\n"},
      {"", "/^/ IGNORE", Action::proceed, 0, "", "", "-"},
      {"", "/^last/ PREPEND before", Action::proceed, 0, "", "", "a line\r\nbad line\r\nbefore\r\nlast\r\n"},
  }));
  CAPTURE(c.rules, c.body_rules);
  test::on_loop_to_end([&] {
    std::string element = "{ plugin:header_checks";
    if (!c.rules.empty()) element += ", { header_checks = pcre:{{" + c.rules + "}} }";
    if (!c.body_rules.empty()) element += ", { body_checks = pcre:{{" + c.body_rules + "}} }";
    Rig rig(element + " }");
    REQUIRE(rig.problem == "");
    for (const auto& [name, value] : {std::pair("Subject", "two"), {"X", "1"}, {"X", "2"}, {"X", "3"}, {"Last", "z"}}) {
      rig.header(name, value);
    }
    REQUIRE(rig.content.body.append("a line\r\nbad line\r\nlast\r\n"));
    const auto verdict = rig.message();
    CHECK(verdict.action == c.action);
    CHECK(verdict.code == c.code);
    CHECK(verdict.text == c.text);
    if (!c.header.empty()) CHECK(rig.content.header_text() == c.header + "\r\n");
    if (!c.body.empty()) CHECK(rig.content.body.memory() == (c.body == "-" ? "" : c.body));
  });
}

TEST_CASE("header_checks plugin: envelope actions and refused configurations", "[plugin]") {
  test::on_loop_to_end([] {
    Rig rig("{ plugin:header_checks, { header_checks = pcre:{{/^Subject: r/ REDIRECT new@x}, {/^Subject: b/ BCC bcc@x}} } }");
    REQUIRE(rig.problem == "");
    rig.envelope.recipients = {{"a@x", "a@x", "", 0}, {"b@x", "b@x", "", 0}};
    rig.header("Subject", "r");
    CHECK(rig.message().action == Action::proceed);
    REQUIRE(rig.envelope.recipients.size() == 1);
    CHECK(rig.envelope.recipients[0].address == "new@x");
  });
  CHECK(Rig("plugin:header_checks").problem.find("no tables") != std::string::npos);
  CHECK(Rig("{plugin:header_checks, header_checks=hash:/x}").problem.find("a plugin takes") != std::string::npos);
  CHECK(Rig("{plugin:header_checks, header_checks=pcre:/absent/file}").problem.find("/absent/file") != std::string::npos);
}
