#include "core/deliver/notice.h"

#include <ctime>

#include "core/base/strings.h"
#include "core/deliver/address.h"

namespace millrace::deliver {

namespace {
constexpr std::size_t kWidth = 79, kIndent = 4;

// A header field's value from anywhere: one line.
std::string one_line(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool control = static_cast<unsigned char>(c) < ' ' || c == 0x7f;
    out += control ? ' ' : c;
  }
  return out;
}

std::string field_name(std::string_view mail_name) {
  std::string out;
  for (const char c : mail_name) out += is_alnum(c) || c == '-' ? c : '-';
  return out;
}

// RFC 6533 section 3: an address that is not ASCII is of type utf-8, where the report may hold it.
std::string typed(std::string_view address) {
  const bool utf8 = !is_ascii(address) && is_valid_utf8(address);
  return (utf8 ? "utf-8; " : "rfc822; ") + one_line(address);
}

void status_part(const Notice& notice, const std::string& sender, std::string& out) {
  const std::string prefix = "X-" + field_name(notice.mail_name);
  out += "Reporting-MTA: dns; " + notice.host + "\r\n";
  if (!notice.about_envid.empty()) out += "Original-Envelope-Id: " + one_line(notice.about_envid) + "\r\n";
  out += prefix + "-Queue-ID: " + notice.about_id + "\r\n";
  out += prefix + "-Sender: " + typed(sender) + "\r\n";
  out += "Arrival-Date: " + rfc5322_date(notice.about_arrival) + "\r\n";
  for (const NoticeRecipient& recipient : notice.recipients) {
    out += "\r\nFinal-Recipient: " + typed(quote_821(recipient.address)) + "\r\n";
    if (!recipient.original.empty()) out += "Original-Recipient: " + one_line(recipient.original) + "\r\n";
    out += "Action: " + recipient.action + "\r\nStatus: " + recipient.dsn + "\r\n";
    if (!recipient.remote_mta.empty()) out += "Remote-MTA: " + one_line(recipient.remote_mta) + "\r\n";
    // A server's words, or our own finding.
    const std::string code = recipient.diagnostic.empty() ? prefix + "; " + recipient.reason : recipient.diagnostic;
    out += wrap("Diagnostic-Code: " + one_line(code), kWidth, kIndent);
    if (recipient.retry_until != 0) out += "Will-Retry-Until: " + rfc5322_date(recipient.retry_until) + "\r\n";
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

std::string message_id_of(std::string_view rest) {
  constexpr std::string_view kName = "message-id";
  while (!rest.empty()) {
    std::size_t end = rest.find("\r\n");
    const std::string_view line = rest.substr(0, end);
    if (line.empty()) break;   // the body
    const std::size_t colon = line.find(':');
    if (colon != line.npos && iequals(trim(line.substr(0, colon)), kName)) {
      // With the lines it is folded over.
      while (end != rest.npos && end + 2 < rest.size() && (rest[end + 2] == ' ' || rest[end + 2] == '\t')) end = rest.find("\r\n", end + 2);
      return std::string(trim(one_line(rest.substr(colon + 1, end == rest.npos ? end : end - colon - 1))));
    }
    if (end == rest.npos) break;
    rest.remove_prefix(end + 2);
  }
  return {};
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

bool is_eight_bit(const Notice& notice) {
  if (notice.utf8_texts || notice.smtputf8 || !is_ascii(notice.form->text) || !is_ascii(notice.original)) return true;
  for (const NoticeRecipient& one : notice.recipients) {
    if (!is_ascii(one.address) || !is_ascii(one.original) || !is_ascii(one.expanded_from) || !is_ascii(one.reason) ||
        !is_ascii(one.diagnostic)) {
      return true;
    }
  }
  return !is_ascii(notice.about_sender);
}

std::string build_notice(const Notice& notice) {
  const Template& form = *notice.form;
  const std::string boundary = notice.about_id + "." + std::to_string(notice.now / 1000000) + "/" + notice.host;
  const std::string sender =
      notice.about_sender.empty() ? "MAILER-DAEMON@" + notice.host : one_line(quote_821(notice.about_sender));
  const std::string part = "\r\n--" + boundary + "\r\n";
  const bool eight_bit = is_eight_bit(notice);
  const std::string encoding = eight_bit ? "Content-Transfer-Encoding: 8bit\r\n" : "";

  std::string out = "Received: by " + notice.host + " (" + notice.mail_name + ")\r\n\tid " + notice.queue_id + "; " +
                    rfc5322_date(notice.now) + "\r\n";
  out += "Date: " + rfc5322_date(notice.now) + "\r\nFrom: " + form.from + "\r\n";
  out += "Subject: " + (notice.to_postmaster ? form.postmaster_subject : form.subject) + "\r\n";
  out += "To: " + one_line(quote_821(notice.to)) + "\r\n";
  if (!notice.thread_id.empty()) {
    const std::string id = one_line(notice.thread_id);
    out += "References: " + id + "\r\nIn-Reply-To: " + id + "\r\n";
  }
  out += std::string("Auto-Submitted: ") + (notice.to_postmaster ? "auto-generated" : "auto-replied") + "\r\n";
  out += "MIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"" +
         boundary + "\"\r\nContent-Transfer-Encoding: " + (eight_bit ? "8bit" : "7bit") + "\r\n";
  out += "Message-Id: " + notice_message_id(notice) + "\r\n\r\nThis is a MIME-encapsulated message.\r\n";

  // What follows the template's text may be UTF-8, of which ASCII is a part.
  const bool may_be_utf8 = eight_bit && iequals(form.charset, "us-ascii");
  out += part + "Content-Description: Notification\r\nContent-Type: text/plain; charset=" +
         (may_be_utf8 ? "utf-8" : form.charset) + "\r\n" + encoding + "\r\n";
  if (!notice.to_postmaster) out += form.text;
  for (const NoticeRecipient& recipient : notice.recipients) {
    std::string head = "<" + one_line(quote_821(recipient.address)) + ">";
    if (!recipient.expanded_from.empty()) head += " (expanded from <" + one_line(quote_821(recipient.expanded_from)) + ">)";
    out += "\r\n" + wrap(head + ": " + one_line(recipient.reason), kWidth, kIndent);
  }

  out += part + "Content-Description: Delivery report\r\nContent-Type: message/" +
         (notice.smtputf8 ? "global-delivery-status\r\nContent-Transfer-Encoding: 8bit" : "delivery-status") + "\r\n\r\n";
  status_part(notice, sender, out);

  const bool undelivered = notice.kind == Notice::Kind::failure || notice.kind == Notice::Kind::delay;
  const char* type = notice.headers_only ? (notice.smtputf8 ? "message/global-headers" : "text/rfc822-headers")
                                         : (notice.smtputf8 ? "message/global" : "message/rfc822");
  out += part + "Content-Description: " + (undelivered ? "Undelivered Message" : "Message") +
         (notice.headers_only ? " Headers" : "") + "\r\nContent-Type: " + type + "\r\n" + encoding;
  out += "\r\nReturn-Path: <" + sender + ">\r\n";
  out += notice.original;
  if (!out.ends_with("\r\n")) out += "\r\n";
  out += "\r\n--" + boundary + "--\r\n";
  return out;
}

}  // namespace millrace::deliver
