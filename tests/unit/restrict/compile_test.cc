// What does not start: unknown words, missing arguments, no relay control.
#include "tests/unit/restrict/bench.h"

using millrace::test::RestrictBench;

namespace {

std::string errors(const std::string& main_cf) {
  std::string out;
  const RestrictBench bench(main_cf, &out);
  CHECK(bench.works() == out.empty());
  return out;
}

}  // namespace

TEST_CASE("restrictions: what is misspelt or unsupported is named at start", "[restrict]") {
  CHECK(errors("smtpd_recipient_restrictions = reject_everything_odd, permit\n") ==
        "smtpd_recipient_restrictions: unknown smtpd restriction: \"reject_everything_odd\"\n");
  CHECK(errors("smtpd_recipient_restrictions = reject_rbl_client\n") ==
        "smtpd_recipient_restrictions: restriction reject_rbl_client requires domain name argument\n");
  CHECK(errors("smtpd_recipient_restrictions = reject_rbl_client rbl.example=127.0.0\n").find("bad DNS list reply filter") !=
        std::string::npos);
  CHECK(errors("smtpd_recipient_restrictions = reject_maps_rbl\nmaps_rbl_domains = bad..example\n").find(
            "maps_rbl_domains: restriction reject_maps_rbl: bad DNS list domain name") == 0);
  CHECK(errors("rbl_reply_maps = nosuch:table\n") != "");
  CHECK(errors("default_rbl_reply = ${rbl_code\n").find("default_rbl_reply: bad default rbl reply template") == 0);
  CHECK(errors("smtpd_sender_restrictions = check_sender_access\n") ==
        "smtpd_sender_restrictions: restriction check_sender_access: need maptype:mapname\n");
  CHECK(errors("smtpd_sender_restrictions = check_sender_access table\n").find("need maptype:mapname") != std::string::npos);
  CHECK(errors("smtpd_sender_restrictions = check_sender_access nosuch:table\n") != "");
  CHECK(errors("smtpd_data_restrictions = inline:{a=b}\n").find("smtpd_data_restrictions: specify one of") == 0);
  CHECK(errors("smtpd_client_restrictions = sleep soon\n") != "");
  CHECK(errors("smtpd_client_restrictions = check_policy_service nowhere\n") != "");
  CHECK(errors("smtpd_restriction_classes = a\n") ==
        "smtpd_restriction_classes: restriction class `a' needs a definition\n");
  CHECK(errors("smtpd_restriction_classes = a\na = nosuch\n") == "a: unknown smtpd restriction: \"nosuch\"\n");
  CHECK(errors("smtpd_restriction_classes = a\na = lua:missing.lua\n") == "a: missing.lua: no such file\n");
  CHECK(errors("smtpd_restriction_classes = a\na = lua:x.lua, permit\n") != "");
}

TEST_CASE("restrictions: no relay control, no start", "[restrict]") {
  const std::string none = "smtpd_relay_restrictions =\n";
  const auto refused = [&](const std::string& recipient) {
    return errors(none + "smtpd_recipient_restrictions = " + recipient).find("specify at least one working instance of: "
        "reject_unauth_destination, defer_unauth_destination, reject, defer, defer_if_permit or check_relay_domains") !=
           std::string::npos;
  };
  CHECK(refused("\n"));
  CHECK(refused("reject_unknown_recipient_domain\n"));
  CHECK(refused("permit, reject\n"));
  CHECK(refused("warn_if_reject reject_unauth_destination\n"));
  CHECK(refused("warn_if_reject a\nsmtpd_restriction_classes = a\na = reject\n"));
  CHECK(refused("a\nsmtpd_restriction_classes = a\na = lua:x.lua\n"));
  CHECK(refused("check_plugin x\n"));
  CHECK(errors(none + "smtpd_recipient_restrictions = a\nsmtpd_restriction_classes = a, b\na = b\nb = permit_mynetworks, a\n")
            .find("leads back to itself") != std::string::npos);
  CHECK_FALSE(refused("permit_mynetworks, reject_unauth_destination\n"));
  CHECK_FALSE(refused("warn_if_reject permit_mynetworks, defer\n"));
  CHECK_FALSE(refused("a\nsmtpd_restriction_classes = a\na = permit_mynetworks, reject\n"));
  CHECK(errors("smtpd_recipient_restrictions =\n") == "");
}

TEST_CASE("restrictions: words about logins and certificates do nothing where there are none, else no start", "[restrict]") {
  for (const char* word : {"reject_sender_login_mismatch", "reject_known_sender_login_mismatch",
                           "reject_authenticated_sender_login_mismatch", "reject_unauthenticated_sender_login_mismatch",
                           "check_sasl_access inline:{a=b}"}) {
    CAPTURE(word);
    const std::string list = "smtpd_sender_restrictions = " + std::string(word) + "\n";
    CHECK(errors(list) == "");
    CHECK(errors("smtpd_sasl_auth_enable = yes\n" + list).find("not supported yet with smtpd_sasl_auth_enable") !=
          std::string::npos);
  }
  for (const char* word : {"permit_tls_clientcerts", "permit_tls_all_clientcerts", "check_ccert_access inline:{a=b}"}) {
    CAPTURE(word);
    const std::string list = "smtpd_sender_restrictions = " + std::string(word) + "\n";
    CHECK(errors(list) == "");
    CHECK(errors("smtpd_tls_ask_ccert = yes\n" + list).find("not supported yet with client certificates") !=
          std::string::npos);
  }
}
