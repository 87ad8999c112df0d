#include "bench.h"

using namespace millrace;
using millrace::test::RestrictBench;
using Status = smtp::Verified::Status;

namespace {
std::string ask(RestrictBench& bench, Status status, const std::string& text) {
  bench.known = smtp::Verified{status, text};
  bench.mail("s@sender.example");
  return bench.rcpt("r@dest.example");
}
}  // namespace

TEST_CASE("restrict verify: a sender that cannot be answered", "[restrict][verify]") {
  RestrictBench bench("smtpd_sender_restrictions = reject_unverified_sender\naddress_verify_poll_count = 3\naddress_verify_poll_delay = 2\n");
  CHECK(ask(bench, Status::ok, "250 Ok") == "ok");
  CHECK(bench.verified == std::vector<std::string>{"s@sender.example 4"});
  CHECK(ask(bench, Status::bounced, "no such user") ==
        "450 4.1.7 <s@sender.example>: Sender address rejected: unverified address: no such user");
  CHECK(ask(bench, Status::deferred, "later") ==
        "450 4.1.7 <s@sender.example>: Sender address rejected: unverified address: later");
  CHECK(ask(bench, Status::pending, "Address verification in progress") ==
        "450 4.1.7 <s@sender.example>: Sender address rejected: unverified address: Address verification in progress");
  bench.known.reset();
  bench.mail("s@sender.example");
  CHECK(bench.rcpt("r@dest.example").substr(0, 9) == "450 4.1.7");
  bench.verified.clear();
  bench.mail("");
  CHECK(bench.rcpt("r@dest.example") == "ok");
  CHECK(bench.verified.empty());
}

TEST_CASE("restrict verify: codes, texts and actions of main.cf", "[restrict][verify]") {
  RestrictBench bench(
      "smtpd_relay_restrictions =\nsmtpd_recipient_restrictions = reject_unverified_recipient, reject_unauth_destination\n"
      "unverified_recipient_reject_code = 550\nunverified_recipient_defer_code = 451\n"
      "unverified_recipient_reject_reason = Address lookup failed\n");
  CHECK(ask(bench, Status::bounced, "no such user") ==
        "550 5.1.1 <r@dest.example>: Recipient address rejected: undeliverable address: Address lookup failed");
  CHECK(ask(bench, Status::deferred, "later") ==
        "451 4.1.1 <r@dest.example>: Recipient address rejected: unverified address: Address lookup failed");
  // defer_if_permit: what comes after may still say no for good.
  bench.mail("s@sender.example");
  CHECK(bench.rcpt("r@elsewhere.example") == "554 5.7.1 <r@elsewhere.example>: Relay access denied");
}

TEST_CASE("restrict verify: refused at once, or accepted to look at the log", "[restrict][verify]") {
  RestrictBench at_once(
      "smtpd_relay_restrictions =\nsmtpd_recipient_restrictions = reject_unverified_recipient, reject_unauth_destination\n"
      "unverified_recipient_tempfail_action = defer\n");
  at_once.known = smtp::Verified{Status::deferred, "later"};
  at_once.mail("s@sender.example");
  CHECK(at_once.rcpt("r@elsewhere.example").substr(0, 9) == "450 4.1.1");
  RestrictBench accepts("smtpd_relay_restrictions =\nsmtpd_recipient_restrictions = reject_unverified_recipient, reject_unauth_destination\n"
                        "unverified_recipient_reject_code = 250\n");
  CHECK(ask(accepts, Status::bounced, "no such user") == "ok");
}
