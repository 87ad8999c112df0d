#include "core/deliver/notice.h"

#include <fmt/format.h>

#include <ctime>

#include "core/base/strings.h"
#include "core/deliver/address.h"

namespace millrace::deliver {

namespace {
constexpr char kFailure[] =
    "This is the mail system at host {host}.\r\n\r\n"
    "I'm sorry to have to inform you that your message could not\r\n"
    "be delivered to one or more recipients. It's attached below.\r\n\r\n"
    "For further assistance, please send mail to postmaster.\r\n\r\n"
    "If you do so, please include this problem report. You can\r\n"
    "delete your own text from the attached returned message.\r\n\r\n"
    "                   The mail system\r\n";
constexpr char kDelay[] =
    "This is the mail system at host {host}.\r\n\r\n"
    "THIS IS A WARNING ONLY. There is no need to send your message again.\r\n\r\n"
    "It could not be delivered for more than {hours} hour(s). Delivery will be\r\n"
    "tried until the message is {days} day(s) old.\r\n\r\n"
    "                   The mail system\r\n";
constexpr char kSuccess[] =
    "This is the mail system at host {host}.\r\n\r\n"
    "Your message was delivered to the recipients below, or passed on to a\r\n"
    "mail system that does not send reports of success.\r\n\r\n"
    "                   The mail system\r\n";

// A header field's value from anywhere: one line.
std::string one_line(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool control = static_cast<unsigned char>(c) < ' ' || c == 0x7f;
    out += control ? ' ' : c;
  }
  return out;
}

// Lines of a remote reply as a folded field.
std::string folded(std::string_view text) {
  std::string out;
  for (const std::string_view line : split(text, "\n")) out += (out.empty() ? "" : "\r\n    ") + one_line(line);
  return out;
}

std::string subject(const Notice& notice) {
  switch (notice.kind) {
    case Notice::Kind::failure:
      return notice.to_postmaster ? "Postmaster Copy: Undelivered Mail" : "Undelivered Mail Returned to Sender";
    case Notice::Kind::delay:
      return notice.to_postmaster ? "Postmaster Warning: Delayed Mail" : "Delayed Mail (still being retried)";
    case Notice::Kind::success:
      return "Successful Mail Delivery Report";
  }
  return {};
}

std::string field_name(std::string_view mail_name) {
  std::string out;
  for (const char c : mail_name) out += is_alnum(c) || c == '-' ? c : '-';
  return out;
}
void status_part(const Notice& notice, const std::string& sender, std::string& out) {
  const std::string type = notice.smtputf8 ? "utf-8" : "rfc822";
  const std::string prefix = "X-" + field_name(notice.mail_name);
  out += "Reporting-MTA: dns; " + notice.host + "\r\n";
  if (!notice.about_envid.empty()) out += "Original-Envelope-Id: " + one_line(notice.about_envid) + "\r\n";
  out += prefix + "-Queue-ID: " + notice.about_id + "\r\n";
  out += prefix + "-Sender: " + type + "; " + sender + "\r\n";
  out += "Arrival-Date: " + rfc5322_date(notice.about_arrival) + "\r\n";
  for (const NoticeRecipient& recipient : notice.recipients) {
    out += "\r\nFinal-Recipient: " + type + "; " + one_line(quote_821(recipient.address)) + "\r\n";
    if (!recipient.original.empty()) out += "Original-Recipient: " + one_line(recipient.original) + "\r\n";
    out += "Action: " + recipient.action + "\r\nStatus: " + recipient.dsn + "\r\n";
    if (!recipient.remote_mta.empty()) out += "Remote-MTA: " + one_line(recipient.remote_mta) + "\r\n";
    if (!recipient.diagnostic.empty()) {
      out += "Diagnostic-Code: " + folded(recipient.diagnostic) + "\r\n";
    } else {
      // Our own finding, not a server's.
      out += "Diagnostic-Code: X-" + field_name(notice.mail_name) + "; " + one_line(recipient.reason) + "\r\n";
    }
  }
}
}  // namespace

std::string notice_message_id(const Notice& notice) {
  if (notice.long_queue_ids) return "<" + notice.queue_id + "@" + notice.host + ">";
  const std::time_t seconds = static_cast<std::time_t>(notice.now / 1000000);
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char stamp[32];
  std::strftime(stamp, sizeof stamp, "%Y%m%d%H%M%S", &parts);
  return "<" + std::string(stamp) + "." + notice.queue_id + "@" + notice.host + ">";
}

std::string wrap(std::string_view text, std::size_t width, std::size_t indent) {
  std::string out, line;
  const auto flush = [&] {
    out += line + "\r\n";
    line.assign(indent, ' ');
  };
  bool fresh = true;
  for (const std::string_view word : split(text, " \t\r\n")) {
    if (!fresh && line.size() + 1 + word.size() > width) {
      flush();
      fresh = true;
    }
    if (!fresh) line += ' ';
    line += word;
    fresh = false;
  }
  flush();
  return out;
}

std::string build_notice(const Notice& notice) {
  const std::string boundary =
      notice.about_id + "." + std::to_string(notice.now / 1000000) + "/" + notice.host;
  const std::string sender =
      notice.about_sender.empty() ? "MAILER-DAEMON@" + notice.host : one_line(quote_821(notice.about_sender));
  const std::string part = "\r\n--" + boundary + "\r\n";

  std::string out = "Received: by " + notice.host + " (" + notice.mail_name + ")\r\n\tid " + notice.queue_id + "; " +
                    rfc5322_date(notice.now) + "\r\n";
  out += "Date: " + rfc5322_date(notice.now) + "\r\n";
  out += "From: Mail Delivery System <MAILER-DAEMON@" + notice.host + ">\r\n";
  out += "Subject: " + subject(notice) + "\r\nTo: " + one_line(quote_821(notice.to)) + "\r\n";
  out += std::string("Auto-Submitted: ") + (notice.to_postmaster ? "auto-generated" : "auto-replied") + "\r\n";
  out += "MIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"" +
         boundary + "\"\r\nContent-Transfer-Encoding: 8bit\r\n";
  out += "Message-Id: " + notice_message_id(notice) + "\r\n\r\nThis is a MIME-encapsulated message.\r\n";

  out += part + "Content-Description: Notification\r\nContent-Type: text/plain; charset=" +
         (notice.smtputf8 ? "utf-8\r\nContent-Transfer-Encoding: 8bit" : "us-ascii") + "\r\n\r\n";
  if (!notice.to_postmaster) {
    const char* text = notice.kind == Notice::Kind::failure ? kFailure : notice.kind == Notice::Kind::delay ? kDelay : kSuccess;
    out += fmt::format(fmt::runtime(text), fmt::arg("host", notice.host), fmt::arg("hours", notice.delay_hours),
                       fmt::arg("days", notice.lifetime_days));
  }
  for (const NoticeRecipient& recipient : notice.recipients) {
    out += "\r\n" + wrap("<" + one_line(quote_821(recipient.address)) + ">: " + one_line(recipient.reason), 79, 4);
  }

  out += part + "Content-Description: Delivery report\r\nContent-Type: message/" +
         (notice.smtputf8 ? "global-delivery-status" : "delivery-status") + "\r\n\r\n";
  status_part(notice, sender, out);

  const char* what = notice.kind == Notice::Kind::failure ? "Undelivered Message" : notice.kind == Notice::Kind::delay ? "Delayed Message" : "Message";
  const char* type = notice.headers_only ? (notice.smtputf8 ? "message/global-headers" : "text/rfc822-headers")
                                         : (notice.smtputf8 ? "message/global" : "message/rfc822");
  out += part + "Content-Description: " + what + (notice.headers_only ? " Headers" : "") + "\r\nContent-Type: " + type + "\r\n";
  if (!is_ascii(notice.original)) out += "Content-Transfer-Encoding: 8bit\r\n";
  out += "\r\nReturn-Path: <" + sender + ">\r\n";
  out += notice.original;
  if (!out.ends_with("\r\n")) out += "\r\n";
  out += "\r\n--" + boundary + "--\r\n";
  return out;
}

}  // namespace millrace::deliver
