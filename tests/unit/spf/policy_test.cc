// What is done with results: answers, headers and codes as policyd-spf gives them.
#include <catch2/catch.hpp>

#include "plugins/spf/policy.h"
#include "tests/unit/spf/suite.h"

using namespace millrace;
using nlohmann::json;

namespace {

class Zone final : public spf::PatientResolver {
 public:
  explicit Zone(const json& data) : zone_(data) {}
  spf::Answer query(const std::string& name, spf::RecordType type) override { return zone_.query(name, type); }
  void begin(unsigned seconds) override { begun += std::to_string(seconds) + " "; }
  std::string begun;

 private:
  test::SuiteZone zone_;
};

json txt(const std::string& text) { return json::array({json{{"TXT", text}}}); }
const json kZone = {
    {"pass.example", txt("v=spf1 ip4:192.0.2.0/24 -all")}, {"fail.example", txt("v=spf1 -all")},
    {"soft.example", txt("v=spf1 ~all")},                  {"neutral.example", txt("v=spf1 ?all")},
    {"broken.example", txt("v=spf1 foo -all")},            {"slow.example", json::array({"TIMEOUT"})},
    {"why.example", txt("v=spf1 a -all exp=text.why.example")},  {"text.why.example", txt("Go (away) %{i}")},
    {"helo.example", json::array({json{{"TXT", "v=spf1 a -all"}}, json{{"A", "192.0.2.1"}}})},
    {"1.2.0.192.in-addr.arpa", json::array({json{{"PTR", "host.trusted.example"}}})},
    {"host.trusted.example", json::array({json{{"A", "192.0.2.1"}}})},
};

std::string ask(const std::map<std::string, std::string>& keys, const spf::Request& request, std::string* begun = nullptr) {
  const auto parsed = spf::parse_settings(keys);
  REQUIRE(std::holds_alternative<spf::Settings>(parsed));
  Zone zone(kZone);
  const auto& settings = std::get<spf::Settings>(parsed);
  const auto action = spf::to_action(spf::judge(zone, settings, "mx.example", request), settings);
  if (begun != nullptr) *begun = zone.begun;
  return action;
}
spf::Request from(const std::string& sender, const std::string& helo = "none.example", const std::string& client = "192.0.2.1") {
  return {client, helo, sender, "b@rcpt.example"};
}

}  // namespace

TEST_CASE("spf policy: answers for each result", "[spf]") {
  CHECK(ask({}, from("a@pass.example")) ==
        "PREPEND Received-SPF: Pass (mailfrom) identity=mailfrom; client-ip=192.0.2.1; helo=none.example; "
        "envelope-from=a@pass.example; receiver=rcpt.example ");
  CHECK(ask({}, from("a@fail.example")) ==
        "550 5.7.23 Message rejected due to: SPF fail - not authorized. Please see "
        "http://www.openspf.net/Why?s=mfrom;id=a@fail.example;ip=192.0.2.1;r=rcpt.example");
  CHECK(ask({}, from("a@soft.example")).find("PREPEND Received-SPF: Softfail (mailfrom) ") == 0);
  CHECK(ask({}, from("a@neutral.example")).find("PREPEND Received-SPF: Neutral (mailfrom) ") == 0);
  CHECK(ask({}, from("a@broken.example")).find("PREPEND Received-SPF: Permerror (mailfrom) ") == 0);
  CHECK(ask({}, from("a@slow.example")).find("PREPEND Received-SPF: Temperror (mailfrom) ") == 0);
  CHECK(ask({}, from("a@nothing.example")).find("PREPEND Received-SPF: None (mailfrom) ") == 0);
  CHECK(ask({{"Mail_From_reject", "Softfail"}}, from("a@soft.example")).find("550 5.7.23 ") == 0);
  CHECK(ask({{"Mail_From_reject", "SPF_Not_Pass"}}, from("a@neutral.example")).find("550 5.7.23 ") == 0);
  CHECK(ask({{"Mail_From_reject", "False"}}, from("a@fail.example")).find("PREPEND Received-SPF: Fail (mailfrom)") == 0);
  CHECK(ask({{"PermError_reject", "True"}}, from("a@broken.example")) ==
        "550 5.7.24 Message rejected due to: SPF Permanent Error: \"foo\" in the record of broken.example. Please see "
        "http://www.openspf.net/Why?s=mfrom;id=a@broken.example;ip=192.0.2.1;r=rcpt.example");
  CHECK(ask({{"TempError_Defer", "True"}}, from("a@slow.example")).find("defer_if_permit 4.7.24 Message deferred due to: SPF Temporary Error: ") == 0);
  CHECK(ask({{"TempError_Defer", "True"}, {"SPF_Enhanced_Status_Codes", "No"}}, from("a@slow.example")).find("defer_if_permit Message") == 0);
}

TEST_CASE("spf policy: HELO first, then MAIL FROM", "[spf]") {
  CHECK(ask({}, from("a@pass.example", "fail.example")).find("550 5.7.23 Message rejected due to: SPF fail - not authorized. Please see "
                                                             "http://www.openspf.net/Why?s=helo;id=fail.example;") == 0);
  CHECK(ask({{"HELO_reject", "Null"}}, from("a@pass.example", "fail.example")).find("PREPEND Received-SPF: Pass (mailfrom)") == 0);
  CHECK(ask({{"HELO_reject", "Null"}}, from("", "fail.example")).find("550 5.7.23 ") == 0);
  CHECK(ask({}, from("", "helo.example")) ==
        "PREPEND Received-SPF: Pass (sender SPF authorized) identity=helo; client-ip=192.0.2.1; helo=helo.example; envelope-from=<>; "
        "receiver=rcpt.example ");
  // A HELO that says something stands where MAIL FROM says nothing.
  CHECK(ask({}, from("a@nothing.example", "helo.example")).find("PREPEND Received-SPF: Pass (sender SPF authorized) identity=helo") == 0);
  CHECK(ask({{"HELO_reject", "No_Check"}}, from("", "helo.example")) == "DUNNO");
  CHECK(ask({{"Mail_From_reject", "No_Check"}}, from("a@fail.example", "helo.example")).find("PREPEND Received-SPF: Pass (sender") == 0);
  CHECK(ask({}, from("", "")) == "DUNNO");
  CHECK(ask({}, from("a@pass.example", "")).find("helo=pass.example;") != std::string::npos);
  std::string begun;
  ask({{"Lookup_Time", "7"}}, from("a@pass.example"), &begun);
  CHECK(begun == "7 7 ");
}

TEST_CASE("spf policy: explanations, and what they may do to a header", "[spf]") {
  CHECK(ask({}, from("a@why.example")).find("550 5.7.23 Message rejected due to: Go (away) 192.0.2.1. Please see ") == 0);
  CHECK(ask({{"HELO_reject", "False"}}, from("", "why.example")).find("PREPEND Received-SPF: Fail (Go \\(away\\) 192.0.2.1) identity=helo") == 0);
  CHECK(ask({{"Reason_Message", "{spf}: {url} {x}"}, {"Hide_Receiver", "Yes"}}, from("a@fail.example")) ==
        "550 5.7.23 SPF fail - not authorized: http://www.openspf.net/Why?s=mfrom;id=a@fail.example;ip=192.0.2.1;r=<UNKNOWN> {x}");
  CHECK(ask({}, from("a\r\nX: y@pass.example")).find('\n') == std::string::npos);
  CHECK(ask({{"Reject_Not_Pass_Domains", "soft.example, x.example"}}, from("a@soft.example"))
            .find("550 5.7.23 Message rejected due to: Receiver policy for SPF Softfail. ") == 0);
}

TEST_CASE("spf policy: who is not checked", "[spf]") {
  CHECK(ask({}, from("a@fail.example", "h", "127.0.0.9")) ==
        "PREPEND X-Comment: SPF check N/A for local connections - client-ip=127.0.0.9; helo=h; envelope-from=a@fail.example; "
        "receiver=rcpt.example ");
  CHECK(ask({}, from("a@fail.example", "h", "::ffff:127.0.0.1")).find("PREPEND X-Comment: ") == 0);
  CHECK(ask({{"Whitelist", "192.0.2.0/24"}}, from("a@fail.example")).find("PREPEND X-Comment: SPF skipped for whitelisted relay - ") == 0);
  CHECK(ask({{"Domain_Whitelist", "pass.example"}}, from("a@fail.example")).find("PREPEND X-Comment: SPF skipped for whitelisted relay domain") == 0);
  CHECK(ask({{"HELO_Whitelist", "helo.example"}}, from("a@fail.example", "helo.example")).find("PREPEND X-Comment: SPF skipped for whitelisted HELO") == 0);
  CHECK(ask({{"HELO_Whitelist", "helo.example"}}, from("a@fail.example", "helo.example", "192.0.2.9")).find("550 ") == 0);
  CHECK(ask({{"Domain_Whitelist_PTR", "trusted.example"}}, from("a@fail.example")).find("PREPEND X-Comment: SPF skipped for PTR") == 0);
  CHECK(ask({{"Domain_Whitelist_PTR", "usted.example"}}, from("a@fail.example")).find("550 ") == 0);
  CHECK(ask({}, from("a@fail.example", "h", "not an address")) == "DUNNO");
}

TEST_CASE("spf policy: test modes, restrictions, other headers", "[spf]") {
  CHECK(ask({{"TestOnly", "0"}}, from("a@fail.example")) == "DUNNO");
  CHECK(ask({{"TestOnly", "0"}}, from("a@pass.example")).find("PREPEND ") == 0);
  CHECK(ask({{"Mock", "True"}}, from("a@fail.example")) == "DUNNO");
  CHECK(ask({{"Prospective", "192.0.2.77"}}, from("a@pass.example")) == "DUNNO");
  CHECK(ask({{"Prospective", "198.51.100.1"}}, from("a@pass.example")).find("ip=198.51.100.1;") != std::string::npos);
  CHECK(ask({{"Header_Type", "None"}}, from("a@pass.example")) == "DUNNO");
  CHECK(ask({{"Header_Type", "AR"}}, from("a@pass.example")) ==
        "PREPEND Authentication-Results: mx.example; spf=pass (sender SPF authorized) smtp.mailfrom=pass.example "
        "(client-ip=192.0.2.1; helo=none.example; envelope-from=a@pass.example; receiver=rcpt.example)");
  CHECK(ask({{"Mail_From_pass_restriction", "permit_it"}}, from("a@pass.example")) == "permit_it");
  CHECK(ask({{"HELO_pass_restriction", "helo_ok"}}, from("a@soft.example", "helo.example")) == "helo_ok");
  CHECK(ask({{"HELO_pass_restriction", "helo_ok"}}, from("", "helo.example")) == "helo_ok");
  CHECK(ask({{"No_Mail", "True"}}, from("a@fail.example")).find("550 ") == 0);
  CHECK(ask({{"No_Mail", "True"}}, from("a@pass.example", "h", "198.51.100.1")).find("PREPEND Received-SPF: Fail") == 0);
}

TEST_CASE("spf settings: what makes no sense is refused", "[spf]") {
  const auto wrong = [](const char* key, const char* value) {
    const auto parsed = spf::parse_settings({{key, value}});
    const auto* const problem = std::get_if<std::string>(&parsed);
    return problem == nullptr ? std::string() : *problem;
  };
  CHECK(wrong("HELO_reject", "Perhaps") == "HELO_reject: \"Perhaps\" makes no sense");
  CHECK(wrong("Mail_From_reject", "Null") != "");
  CHECK(wrong("Whitelist", "192.0.2.0/99") != "");
  CHECK(wrong("Lookup_Time", "0") != "");
  CHECK(wrong("Per_User", "ldap,x") == "Per_User: \"ldap,x\" makes no sense");
  CHECK(wrong("Engine", "libspf3") == "Engine: \"libspf3\" makes no sense");
  CHECK(wrong("nonsense", "") == "unknown key \"nonsense\"");
  CHECK(wrong("debugLevel", "-1").empty());
  CHECK(wrong("skip_addresses", "127.0.0.0/8,::ffff:127.0.0.0/104,::1").empty());
}

TEST_CASE("spf settings: by recipient, over those of all", "[spf]") {
  const spf::Keys all = {{"Mail_From_reject", "Softfail"}, {"Per_User", "text,/x"}};
  const auto parsed = spf::parse_per_user("# comment\n\nA@x.example, Mail_From_reject=False|PermError_reject = True # more\r\n"
                                          "b@x.example,skip_addresses=192.0.2.0/24,::1\na@x.example,TestOnly=0", all);
  REQUIRE(std::holds_alternative<spf::PerUser>(parsed));
  const auto& users = std::get<spf::PerUser>(parsed);
  REQUIRE(users.size() == 2);
  CHECK(users.at("a@x.example").mail_from == spf::Refuse::never);
  CHECK(users.at("a@x.example").permerror_reject);
  CHECK_FALSE(users.at("a@x.example").test_only);   // the first line counts
  CHECK(users.at("b@x.example").mail_from == spf::Refuse::softfail);
  CHECK(users.at("b@x.example").skip_addresses.size() == 2);
  const auto wrong = [&](const char* text) {
    const auto out = spf::parse_per_user(text, {});
    const auto* const why = std::get_if<std::string>(&out);
    return why == nullptr ? std::string("fine") : *why;
  };
  CHECK(wrong("") == "fine");
  CHECK(wrong("\na@x") == "line 2: expected recipient,Key=value|Key=value");
  CHECK(wrong("a@x,TestOnly") == "line 1: \"TestOnly\" is not Key=value");
  CHECK(wrong("a@x,Nonsense=1") == "line 1: unknown key \"Nonsense\"");
  CHECK(wrong("a@x,TestOnly=2") == "line 1: TestOnly: \"2\" makes no sense");
  CHECK(wrong("a@x,Header_Type=AR") == "line 1: Header_Type holds for all recipients");
}

TEST_CASE("spf policy: the engine that is asked for", "[spf]") {
  CHECK(ask({{"Engine", "libspf2"}}, {"192.0.2.1", "none.example", "a@fail.example", "b@rcpt.example"}).find("550 5.7.23 ") == 0);
  CHECK(ask({{"Engine", "libspf2"}}, {"192.0.2.1", "none.example", "a@pass.example", "b@rcpt.example"}).find("PREPEND Received-SPF: Pass") == 0);
}
