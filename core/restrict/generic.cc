// Words about nothing in particular: permit, reject, defer and kin, policy services, scripts, protocol.
#include "core/base/strings.h"
#include "core/restrict/run.h"

namespace millrace::restrict {

using filter::Stage;

namespace {
const std::string kBuiltInDefault = "451 4.3.5 Server configuration problem";
}  // namespace

Status Run::nothing(const Step&) { return Status::dunno; }

Status Run::say(const Step& step) {
  for (const std::string_view line : split(step.text, "\n")) warn(line);
  return Status::dunno;
}

Status Run::broken(const Step& step) {
  say(step);
  return reject(451, "4.3.5", "Server configuration error", true);
}

Status Run::permit(const Step&) { return Status::ok; }

Status Run::reject_all(const Step&) {
  return reject_about(subject(), static_cast<int>(params_.reject_code), "5.7.1", "Access denied");
}

Status Run::defer_all(const Step&) {
  return reject_about(subject(), static_cast<int>(params_.defer_code), "4.3.2", "Try again later");
}

Status Run::defer_if_permit_word(const Step&) {
  return defer_if_permit(450, "4.7.0", "<" + subject().name + ">: " + std::string(subject().kind) +
                                           " rejected: defer_if_permit requested");
}

Status Run::defer_if_reject_word(const Step&) {
  return defer_if_reject(450, "4.7.0", "<" + subject().name + ">: " + std::string(subject().kind) +
                                           " rejected: defer_if_reject requested");
}

Status Run::sleep(const Step& step) {
  (void)net::sleep_until(context_.deadline.earlier(Deadline::after(step.seconds)));
  return Status::dunno;
}

Status Run::check_policy_service(const Step& step) {
  const policy::ServiceOptions& options = step.service->options();
  datum_ = "policy query";
  const auto action = step.service->ask(attributes(options.policy_context), context_.deadline, log());
  if (action) return result(step.service->name(), *action, subject(), Ok::counts);
  // A default action may name a class that asks a service again: then no more than this.
  const bool nested = failed_service_ != 0 && frames_.size() > failed_service_;
  if (!nested) failed_service_ = frames_.size();
  return result(step.service->name(), nested ? kBuiltInDefault : step.service->failure_action(filter::traffic_of(stage_, context_)), subject(), Ok::counts);
}

Status Run::check_foreign(const Step& step) {
  const auto answer = step.foreign->ask(attributes({}), context_);
  if (!answer) return config_error(answer.error().context);
  // An empty answer is no decision of anybody; in a table it would be taken for OK.
  if (parse_access_result(answer->action).kind == AccessKind::empty) return config_error(answer->where + ": empty result");
  datum_ = kScriptDatum;
  return result(answer->where, answer->action, subject(), Ok::counts);
}

Status Run::reject_unauth_pipelining(const Step&) {
  if (!context_.session.improper_pipelining) return Status::dunno;
  return reject_about(subject(), 503, "5.5.0", "Improper use of SMTP command pipelining");
}

Status Run::reject_multi_recipient_bounce(const Step&) {
  if (!sender_ || !sender_->empty()) return Status::dunno;
  // At RCPT the recipient that is asked about is not among those accepted yet.
  const std::size_t allowed = stage_ == Stage::rcpt ? 0 : 1;
  if (context_.envelope.recipients.size() <= allowed) return Status::dunno;
  return reject_about(subject(), static_cast<int>(params_.multi_recipient_bounce_reject_code), "5.5.3",
                      "Multi-recipient bounce");
}

Status Run::reject_plaintext_session(const Step&) {
  if (context_.session.tls) return Status::dunno;
  return reject(static_cast<int>(params_.plaintext_reject_code), "4.7.1", "Session encryption is required");
}

}  // namespace millrace::restrict
