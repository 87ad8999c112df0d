// Keys of the filters, networks, and what a message comes to.
#include <catch2/catch.hpp>

#include "plugins/dkim/settings.h"

using namespace millrace::dkim;

TEST_CASE("dkim settings: of verify", "[dkim]") {
  const auto made = std::get<VerifySettings>(parse_verify_settings({{"on_fail", "reject"}, {"on_none", "Hold"}, {"min_key_bits", "2048"}, {"partial_body", "policy"}}));
  CHECK(made.actions[static_cast<std::size_t>(Result::fail)] == Action::reject);
  CHECK(made.actions[static_cast<std::size_t>(Result::none)] == Action::quarantine);
  CHECK(made.actions[static_cast<std::size_t>(Result::pass)] == Action::accept);
  CHECK(made.min_key_bits == 2048);
  CHECK_FALSE(made.accept_partial);
  const auto problem = [](const char* key, const char* value) { return std::get<std::string>(parse_verify_settings({{key, value}})); };
  CHECK(problem("on_fail", "bounce") == "on_fail: \"bounce\" makes no sense");
  CHECK(problem("max_signatures", "0") == "max_signatures: \"0\" makes no sense");
  CHECK(problem("engine", "other") == "engine: \"other\" makes no sense");
  CHECK(problem("odd", "1") == "unknown key \"odd\"");
}

TEST_CASE("dkim settings: of sign", "[dkim]") {
  const auto made = std::get<SignSettings>(parse_sign_settings({{"domain", "a.example, b.example"}, {"selector", "s"}, {"key_file", "/k"},
                                                                {"canonicalization", "relaxed/simple"}, {"sign_headers", "To, Subject"}, {"oversign_headers", "From,To"}}));
  CHECK(made.domains == std::vector<std::string>{"a.example", "b.example"});
  CHECK(made.policy.body_canon == Canon::simple);
  CHECK(made.policy.headers == std::vector<std::string>{"from", "to", "subject"});
  CHECK(made.policy.oversigned == std::vector<std::string>{"from", "to"});
  const auto problem = [](std::map<std::string, std::string> keys) { return std::get<std::string>(parse_sign_settings(keys)); };
  CHECK(problem({{"domain", "a.example"}}) == "domain, selector and key_file go together");
  CHECK(problem({{"key_table", "/k"}}) == "key_table and signing_table go together");
  CHECK(problem({{"key_table", "/k"}, {"signing_table", "/s"}, {"domain", "a.example"}}) == "key_table and signing_table, or domain, selector and key_file: not both");
  CHECK(problem({{"internal_hosts", "10.0.0.0/33"}}) == "internal_hosts: \"10.0.0.0/33\" is no address or network");
  CHECK(problem({{"canonicalization", "odd"}}) == "canonicalization: \"odd\" makes no sense");
}

TEST_CASE("dkim settings: networks, the most specific decides", "[dkim]") {
  const auto nets = std::get<std::vector<Network>>(parse_networks("10.0.0.0/8, !10.1.0.0/16 10.1.2.3,2001:db8::/33 [::1]"));
  const auto in = [&](const char* address) { return is_in(nets, address); };
  CHECK(in("10.2.3.4"));
  CHECK(in("::ffff:10.2.3.4"));
  CHECK_FALSE(in("10.1.9.9"));
  CHECK(in("10.1.2.3"));
  CHECK_FALSE(in("11.0.0.1"));
  CHECK(in("2001:db8:7fff::1"));
  CHECK_FALSE(in("2001:db8:8000::1"));
  CHECK(in("::1"));
  CHECK_FALSE(in("unknown"));
  CHECK_FALSE(in(""));
}

TEST_CASE("dkim settings: what a message comes to", "[dkim]") {
  const auto finding = [](Result result, bool testing = false) {
    Finding out;
    out.result = result;
    out.is_testing = testing;
    return out;
  };
  CHECK(decisive({}) == SIZE_MAX);
  CHECK(decisive({finding(Result::fail), finding(Result::pass)}) == 1);
  CHECK(decisive({finding(Result::permerror), finding(Result::temperror)}) == 1);
  CHECK(decisive({finding(Result::neutral), finding(Result::policy)}) == 1);
  CHECK(decisive({finding(Result::fail, true)}) == SIZE_MAX);
  CHECK(decisive({finding(Result::pass, true)}) == 0);

  VerifySettings settings;
  std::vector<Signature> signatures(3);
  signatures[1].algorithm = Algorithm::ed25519_sha256;
  signatures[2].algorithm = Algorithm::rsa_sha1;
  std::vector<Finding> findings(3, finding(Result::pass));
  findings[0].bits = 1023;
  findings[1].bits = 256;
  findings[1].unsigned_octets = 5;
  findings[2].bits = 2048;
  apply_policy(settings, signatures, findings);
  CHECK(findings[0].result == Result::policy);
  CHECK(findings[0].reason == "key of 1023 bits is too short");
  CHECK(findings[1].result == Result::pass);
  CHECK(findings[1].reason == "5 octets of the body are not signed");
  CHECK(findings[2].result == Result::policy);   // RFC 8301 section 3.1, unless it is wanted
  settings.accept_partial = false;
  settings.accept_sha1 = true;
  findings[2] = finding(Result::pass);
  findings[2].bits = 2048;
  apply_policy(settings, signatures, findings);
  CHECK(findings[1].result == Result::policy);
  CHECK(findings[2].result == Result::pass);
}
