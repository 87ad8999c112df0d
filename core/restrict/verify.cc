// reject_unverified_sender and reject_unverified_recipient (ADDRESS_VERIFICATION_README).  What is known of an address
// comes from the queue process, which caches it and sends the probes (core/deliver/verifier.h).
#include "core/base/strings.h"
#include "core/restrict/run.h"

namespace millrace::restrict {

namespace {
constexpr std::size_t kMaxReason = 250;   // of what a next hop said, in a temporary refusal
}  // namespace

Status Run::reject_unverified(const std::string& address, std::string_view kind, const UnverifiedRules& rules) {
  // As long as Postfix would ask again and again; the answer is taken when it comes.
  const auto wait = params_.address_verify_poll_delay * std::max<std::int64_t>(params_.address_verify_poll_count - 1, 0);
  std::string why;
  std::int64_t code = 0;
  const auto known = rules_.environment.verify ? rules_.environment.verify(address, wait)
                                               : fail(Errc::internal, "address verification: no queue to ask");
  if (!known) {
    log().warning(printable(known.error().context));
    code = rules.defer_code;
    why = "Address verification is not available";
  } else {
    why = known->text;
    switch (known->status) {
      case smtp::Verified::Status::ok: return Status::dunno;
      case smtp::Verified::Status::deferred:
      case smtp::Verified::Status::pending: code = rules.defer_code; break;
      case smtp::Verified::Status::bounced: code = rules.reject_code; break;
    }
  }
  if (code < 400) return Status::dunno;   // 250: only to see what the log would say
  if (!rules.reason.empty()) why = rules.reason;
  const char* const dsn = kind == "Sender address" ? "4.1.7" : "4.1.1";
  const std::string head = "<" + address + ">: " + std::string(kind) + " rejected: ";
  if (code < 500) {
    return dns_trouble(rules.tempfail_action, static_cast<int>(code), dsn, head + "unverified address: " + why.substr(0, kMaxReason));
  }
  return reject(static_cast<int>(code), dsn, head + "undeliverable address: " + why);
}

Status Run::reject_unverified_sender(const Step&) {
  if (!sender_ || sender_->empty()) return Status::dunno;
  return reject_unverified(*sender_, "Sender address",
                           {params_.unverified_sender_defer_code, params_.unverified_sender_reject_code,
                            params_.unverified_sender_reject_reason, params_.unverified_sender_tempfail_action});
}

Status Run::reject_unverified_recipient(const Step&) {
  if (!recipient_ || recipient_->empty()) return Status::dunno;
  return reject_unverified(*recipient_, "Recipient address",
                           {params_.unverified_recipient_defer_code, params_.unverified_recipient_reject_code,
                            params_.unverified_recipient_reject_reason, params_.unverified_recipient_tempfail_action});
}

}  // namespace millrace::restrict
