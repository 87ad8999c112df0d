// Restrictions with a router of a few domains, a scripted resolver and no network.
#pragma once

#include <catch2/catch.hpp>
#include <map>

#include "core/base/strings.h"
#include "core/restrict/restrict.h"
#include "tests/support/scripted_resolver.h"

namespace millrace::test {

// relay_domains dest.example; final destination local.example; nothing is known in unknown@.  An address
// with "broken" in it cannot be looked up.
class FakeRouter final : public rewrite::Router {
 public:
  std::string rewrite(std::string_view address) const override { return std::string(address); }
  Result<rewrite::Route> resolve(std::string_view recipient, std::string_view) const override {
    if (recipient.find("broken") != recipient.npos) return fail(Errc::temporary, "hash:relay: look-up failed");
    rewrite::Route route;
    route.recipient = recipient;
    if (recipient.find('@') == recipient.npos) route.recipient += "@mx.mill.example";
    const std::string domain = lower(route.recipient.substr(route.recipient.rfind('@') + 1));
    if (domain == "dest.example") route.address_class = rewrite::AddressClass::relay;
    if (domain == "local.example") route.address_class = rewrite::AddressClass::local;
    return route;
  }
  Result<bool> is_auth_destination(std::string_view recipient) const override {
    auto route = resolve(recipient, "");
    if (!route) return tl::unexpected(route.error());
    return route->address_class != rewrite::AddressClass::other;
  }
  Result<bool> is_local_domain(std::string_view domain) const override { return domain == "mx.mill.example"; }
  bool is_deliverable_syntax(std::string_view) const override { return true; }
  Result<std::string> unlisted(std::string_view recipient, Role, std::string_view, int* code) const override {
    *code = 550;
    return istarts_with(recipient, "unknown@dest") ? "User unknown in relay recipient table" : "";
  }
};

struct ScriptWord final : restrict::ForeignWord {
  Result<Answer> ask(const policy::Attributes& facts, filter::Context&) override {
    seen = facts;
    if (action == "!") return fail(Errc::temporary, "policy.lua:7: attempt to index a nil value");
    return Answer{action, "policy.lua:3"};
  }
  std::string action;
  policy::Attributes seen;
};

// A session with the filter: commands in, "code dsn text" or "ok" out.
class RestrictBench {
 public:
  explicit RestrictBench(const std::string& main_cf, std::string* errors = nullptr) : tables_(map::TableOptions{}) {
    config_ = config::Config::from_text("compatibility_level = 3.6\nmynetworks = 127.0.0.0/8\n" + main_cf, "", findings_);
    restrict::Environment environment;
    environment.config = config_;
    environment.params = std::shared_ptr<const config::Params>(config_, &config_->params());
    environment.router = std::make_shared<FakeRouter>();
    environment.tables = &tables_;
    environment.resolver = &resolver;
    resolver.temporary("tempfail.example");
    resolver.a("good.example", "192.0.2.99");
    resolver.status("good.example", net::DnsType::mx, net::DnsStatus::no_data);
    resolver.mx("nullmx.example", {{0, ""}});
    environment.policies = &policies_;
    environment.verify = [this](const std::string& address, std::chrono::seconds wait) -> Result<smtp::Verified> {
      verified.push_back(address + " " + std::to_string(wait.count()));
      if (!known) return fail(Errc::closed, "queue process went away");
      return *known;
    };
    environment.foreign = [this](const std::string&, std::string_view kind,
                                 std::string_view argument) -> Result<std::shared_ptr<restrict::ForeignWord>> {
      if (argument == "missing.lua") return fail(Errc::config, "missing.lua: no such file");
      foreign_kind = kind;
      return script;
    };
    filter_ = restrict::make_filter(environment, findings_);
    if (errors != nullptr) {
      for (const auto& line : findings_.lines) {
        if (line.is_error) *errors += line.parameter + ": " + line.text + "\n";
      }
      return;
    }
    for (const auto& line : findings_.lines) UNSCOPED_INFO(line.text);
    REQUIRE(filter_);
    facts.client_address = "192.0.2.10";
    facts.client_name = facts.reverse_client_name = "client.example";
    facts.protocol = "ESMTP";
    session_ = filter_->open(facts);
  }

  bool works() const { return filter_ != nullptr; }
  filter::Verdict connect() { return at(filter::Stage::connect, "", ""); }
  filter::Verdict helo(const std::string& name) {
    session_->abort();
    envelope = {};
    auto verdict = at(filter::Stage::helo, "EHLO " + name, name);
    facts.helo_name = name;
    return verdict;
  }
  filter::Verdict mail(const std::string& sender) {
    session_->abort();
    envelope = {};
    envelope.sender = sender;
    return at(filter::Stage::mail, "MAIL FROM:<" + sender + ">", "<" + sender + ">");
  }
  filter::Verdict rcpt_verdict(const std::string& address) {
    mime::Recipient recipient;
    recipient.address = recipient.original = address;
    filter::Context context{.session = facts, .envelope = envelope, .rcpt = &recipient};
    auto verdict = session_->at(filter::Stage::rcpt, context);
    if (!verdict.refuses()) envelope.recipients.push_back(recipient);
    return verdict;
  }
  std::string rcpt(const std::string& address) { return text(rcpt_verdict(address)); }
  std::string data() { return text(at(filter::Stage::data, "DATA", "")); }
  std::string etrn(const std::string& domain) { return text(at(filter::Stage::etrn, "ETRN " + domain, domain)); }
  std::string content(mime::Message& message) {
    filter::Context context{.session = facts, .envelope = envelope};
    filter::Journal journal;
    auto verdict = session_->message(context, message, journal);
    if (!verdict.stops()) REQUIRE(filter::apply(journal, envelope, message, nullptr));
    return text(verdict);
  }
  static std::string text(const filter::Verdict& verdict) {
    if (!verdict.refuses()) return verdict.action == filter::Action::discard ? "discard" : "ok";
    return std::to_string(verdict.code) + " " + verdict.enhanced + " " + verdict.text;
  }

  filter::SessionFacts facts;
  mime::Envelope envelope;
  std::shared_ptr<ScriptWord> script = std::make_shared<ScriptWord>();
  std::string foreign_kind;
  std::optional<smtp::Verified> known;     // what the queue says of any address
  std::vector<std::string> verified;       // what it was asked
  ScriptedResolver resolver;

 private:
  filter::Verdict at(filter::Stage stage, const std::string& command, const std::string& typed) {
    filter::Context context{.session = facts, .envelope = envelope, .command = command, .typed = typed};
    return session_->at(stage, context);
  }
  config::Findings findings_;
  std::shared_ptr<const config::Config> config_;
  map::TableSet tables_;
  policy::Pool policies_{"/nowhere"};
  std::shared_ptr<filter::Filter> filter_;
  std::unique_ptr<filter::FilterSession> session_;
};

}  // namespace millrace::test
