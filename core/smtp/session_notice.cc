// The postmaster's copy of a session in which something went wrong (notify_classes).
#include "core/base/strings.h"
#include "core/smtp/session.h"

namespace millrace::smtp {

void Session::tell_postmaster() {
  const unsigned told = transcript_.classes() & service_.notify;
  if (told == 0 || service_.sink == nullptr) return;
  const std::string& to = (transcript_.classes() & kNotifyBounce) != 0 ? params_.bounce_notice_recipient
                                                                       : params_.error_notice_recipient;
  const Result<std::string> id = service_.sink->new_queue_id();
  if (!id) return log_.warning("no notice for the postmaster: " + id.error().context);
  mime::Envelope envelope;
  envelope.queue_id = *id;
  envelope.sender = params_.double_bounce_sender + "@" + params_.myhostname;
  envelope.arrival = wall_now();
  envelope.source = "LOCAL";
  mime::Recipient& recipient = envelope.recipients.emplace_back();
  recipient.address = recipient.original = service_.router->rewrite(to);

  mime::Message message;
  const auto add = [&](std::string_view name, std::string_view value) {
    message.headers.push_back(mime::Header::make(name, value));
  };
  const std::string date = rfc5322_date(envelope.arrival);
  add("Received", "by " + params_.myhostname + " (" + params_.mail_name + ")\n\tid " + *id + "; " + date);
  add("Date", date);
  add("From", "Mail Delivery System <MAILER-DAEMON>");
  add("To", "Postmaster <" + rewrite::quote_local(recipient.address) + ">");
  add("Subject", params_.mail_name + " SMTP server: errors from " + printable(namaddr_));
  (void)message.body.append(transcript_.text(reason_ != nullptr ? reason_ : ""));

  // Mail of our own: completed and mapped, but with no copies.
  Result<void> done = service_.rewriting->headers(message, rewrite::Cleanup::HeaderContext::local, true);
  if (done) done = service_.rewriting->envelope(envelope, true, false);
  std::vector<std::string> lines;
  mime::HeaderPolicy policy = service_.header_policy;
  policy.add_missing = true;
  mime::apply_header_policy(message, policy, *id, envelope.sender, envelope.arrival, lines);
  envelope.size = message.size();
  if (done) done = service_.sink->submit(envelope, message);
  if (!done) return log_.warning("no notice for the postmaster: " + done.error().context);
  for (const std::string& line : lines) service_.cleanup_log.info(*id + ": " + line);
}

}  // namespace millrace::smtp
