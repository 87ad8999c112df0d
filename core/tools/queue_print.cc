#include "core/tools/queue_print.h"

#include <fmt/format.h>

#include <ctime>

#include "core/base/strings.h"

namespace millrace::tools {
namespace {

constexpr std::size_t kReasonColumn = 76;
constexpr std::size_t kMaxLine = 64 * 1024;   // of content held back until its end is seen

// "Sat Nov 21 12:14:02 2026", local time.
std::string long_time(std::int64_t seconds) {
  const auto when = static_cast<std::time_t>(seconds);
  std::tm parts{};
  ::localtime_r(&when, &parts);
  char text[64];
  std::strftime(text, sizeof text, "%a %b %e %H:%M:%S %Y", &parts);
  return text;
}

std::string shown_sender(const std::string& sender) { return sender.empty() ? "MAILER-DAEMON" : quoted_address(sender); }

bool is_atext(char c) {
  return is_alnum(c) || static_cast<unsigned char>(c) > 127 || std::string_view("!#$%&'*+-/=?^_`{|}~").find(c) != std::string_view::npos;
}

bool is_dot_atom(std::string_view text) {
  if (text.empty() || text.front() == '.' || text.back() == '.') return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '.' ? text[i - 1] == '.' : !is_atext(text[i])) return false;
  }
  return true;
}

std::string path_of(const queue::Entry& entry) {
  return std::string(queue::queue_name(entry.queue)) + "/" + entry.envelope.queue_id;
}

// A line that begins, or goes on with, a header field.
bool is_header_line(std::string_view line, bool first) {
  if (line.empty()) return false;
  if (line[0] == ' ' || line[0] == '\t') return !first;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line[i] == ':') return i > 0;
    if (static_cast<unsigned char>(line[i]) <= ' ' || static_cast<unsigned char>(line[i]) > 126) return false;
  }
  return false;
}

}  // namespace

std::string quoted_address(std::string_view address) {
  const std::size_t at = address.rfind('@');
  const std::string_view local = address.substr(0, at);
  if (is_dot_atom(local)) return std::string(address);
  std::string out = "\"";
  for (const char c : local) {
    if (c == '"' || c == '\\' || c == '\r') out.push_back('\\');
    out.push_back(c);
  }
  out.push_back('"');
  if (at != std::string_view::npos) out.append(address.substr(at));
  return out;
}

std::string mailq_heading(bool long_ids) {
  return long_ids ? "----Queue ID----- --Size-- ---Arrival Time---- --Sender/Recipient------\n"
                  : "-Queue ID-  --Size-- ----Arrival Time---- -Sender/Recipient-------\n";
}

std::string mailq_entry(const queue::Listing& listing, bool long_ids) {
  std::string id = listing.queue_id;
  if (listing.queue == queue::QueueName::active) {
    id += '*';
  } else if (listing.queue == queue::QueueName::hold) {
    id += '!';
  } else if (listing.forced_expire) {
    id += '#';
  }
  const std::string arrival = long_time(listing.arrival_seconds);
  const std::string sender = printable(shown_sender(listing.sender));
  std::string out = long_ids
                        ? fmt::format("{:<17} {:>8} {:.19} {}\n", id, listing.size, arrival, sender)
                        : fmt::format("{:<11} {:>7} {:.20} {}\n", id, listing.size, arrival, sender);
  const std::string indent(long_ids ? 47 : 41, ' ');
  const std::string* reason = nullptr;
  for (const auto& recipient : listing.recipients) {
    // Printed once for all that follow with the same one.
    if (!recipient.reason.empty() && (reason == nullptr || *reason != recipient.reason)) {
      const std::string text = printable(recipient.reason);
      const std::size_t pad = text.size() < kReasonColumn ? kReasonColumn - text.size() : 0;
      out += std::string(pad, ' ') + "(" + text + ")\n";
    }
    reason = &recipient.reason;
    out += indent + printable(quoted_address(recipient.address)) + "\n";
  }
  return out + "\n";
}

std::string mailq_summary(std::uint64_t bytes, std::size_t messages) {
  if (messages == 0) return "Mail queue is empty\n";
  return fmt::format("-- {} Kbytes in {} Request{}.\n", bytes / 1024, messages, messages == 1 ? "" : "s");
}

std::string json_quote(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    switch (c) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\b': out += "\\b"; break;
      case '\f': out += "\\f"; break;
      case '\n': out += "\\n"; break;
      case '\r': out += "\\r"; break;
      case '\t': out += "\\t"; break;
      default:
        if (static_cast<unsigned char>(c) < 32 || c == 127) {
          out += fmt::format("\\u{:04X}", static_cast<unsigned>(static_cast<unsigned char>(c)));
        } else {
          out += c;
        }
    }
  }
  return out + "\"";
}

std::string json_entry(const queue::Listing& listing) {
  // Not UTF-8 is not JSON: such bytes are shown as '?'.
  const auto quote = [](const std::string& text) { return json_quote(is_valid_utf8(text) ? text : printable(text)); };
  std::string out = fmt::format(
      R"({{"queue_name": "{}", "queue_id": "{}", "arrival_time": {}, "message_size": {}, "forced_expire": {}, "sender": {}, "recipients": [)",
      queue::queue_name(listing.queue), listing.queue_id, listing.arrival_seconds, listing.size,
      listing.forced_expire, quote(shown_sender(listing.sender)));
  for (std::size_t i = 0; i < listing.recipients.size(); ++i) {
    const auto& recipient = listing.recipients[i];
    out += fmt::format(R"({}{{"address": {})", i == 0 ? "" : ", ", quote(quoted_address(recipient.address)));
    if (!recipient.reason.empty()) out += fmt::format(R"(, "delay_reason": {})", quote(recipient.reason));
    out += "}";
  }
  return out + "]}\n";
}

std::string cat_envelope(const queue::Entry& entry) {
  const mime::Envelope& e = entry.envelope;
  std::string out = fmt::format("*** ENVELOPE RECORDS {} ***\n", path_of(entry));
  out += fmt::format("message_size: {:15} {:15} {:15} {:15} {:15} {:15}\n", e.size, 0, entry.recipients.size(), 0, e.size,
                     e.smtputf8 ? 1 : 0);
  out += "message_arrival_time: " + long_time(e.arrival / 1000000) + "\n";
  out += "create_time: " + long_time(entry.queued / 1000000) + "\n";
  const auto attribute = [&](const char* name, const std::string& value) {
    if (!value.empty()) out += fmt::format("named_attribute: {}={}\n", name, value);
  };
  attribute("log_ident", e.log_ident.empty() ? e.queue_id : e.log_ident);
  attribute("envelope_id", e.envid);
  if (e.ret != mime::Ret::unset) attribute("ret_flags", e.ret == mime::Ret::full ? "1" : "2");
  out += "sender: " + e.sender + "\n";
  if (!e.verp.empty()) out += "verp_delimiters: " + e.verp + "\n";
  if (e.body != mime::BodyType::unset) attribute("encoding", e.body == mime::BodyType::eight_bit ? "8bit" : "7bit");
  attribute("log_client_name", e.log_client_name);
  attribute("log_client_address", e.log_client_address);
  attribute("log_client_port", e.log_client_port);
  attribute("log_helo_name", e.log_helo_name);
  attribute("log_protocol_name", e.log_protocol);
  attribute("client_name", e.client_name);
  attribute("reverse_client_name", e.reverse_client_name);
  attribute("client_address", e.client_address);
  attribute("client_port", e.client_port);
  attribute("helo_name", e.helo_name);
  attribute("protocol_name", e.protocol);
  attribute("sasl_method", e.sasl_method);
  attribute("sasl_username", e.sasl_username);
  attribute("sasl_sender", e.sasl_sender);
  if (!e.content_filter.empty()) out += "content_filter: " + e.content_filter + "\n";
  if (!e.redirect.empty()) out += "redirect_to: " + e.redirect + "\n";
  for (const queue::RecipientState& state : entry.recipients) {
    const mime::Recipient& recipient = state.recipient;
    if (recipient.notify != 0) attribute("notify_flags", std::to_string(recipient.notify));
    attribute("dsn_orig_rcpt", recipient.orcpt);
    out += "original_recipient: " + recipient.original + "\n";
    out += (state.done ? "done_recipient: " : "recipient: ") + recipient.address + "\n";
  }
  return out;
}

std::string cat_contents_marker(const queue::Entry& entry) {
  return fmt::format("*** MESSAGE CONTENTS {} ***\n", path_of(entry));
}

std::string cat_end(const queue::Entry& entry) {
  std::string out = fmt::format("*** HEADER EXTRACTED {} ***\n", path_of(entry));
  if (entry.envelope.body == mime::BodyType::eight_bit) out += "named_attribute: encoding=8bit\n";
  return out + fmt::format("*** MESSAGE FILE END {} ***\n", path_of(entry));
}

void CatContent::line(std::string_view text, std::string& out) {
  if (in_headers_ && !is_header_line(text, false)) in_headers_ = false;
  if (in_headers_ ? headers_ : body_) out.append(text).push_back('\n');
}

void CatContent::add(std::string_view piece, std::string& out) {
  rest_.append(piece);
  std::size_t start = 0;
  for (std::size_t end; (end = rest_.find('\n', start)) != std::string::npos; start = end + 1) {
    std::string_view text = std::string_view(rest_).substr(start, end - start);
    if (text.ends_with('\r')) text.remove_suffix(1);
    if (long_line_) {   // the end of one that was too long to hold back
      if (in_headers_ ? headers_ : body_) out.append(text).push_back('\n');
      long_line_ = false;
    } else {
      line(text, out);
    }
  }
  rest_.erase(0, start);
  if (rest_.size() <= kMaxLine) return;
  // Its last byte may be the CR of a line end.
  const std::string_view now = std::string_view(rest_).substr(0, rest_.size() - 1);
  if (!long_line_ && in_headers_ && !is_header_line(now, false)) in_headers_ = false;
  long_line_ = true;
  if (in_headers_ ? headers_ : body_) out.append(now);
  rest_.erase(0, now.size());
}

void CatContent::finish(std::string& out) {
  if (!rest_.empty()) add("\n", out);
}

}  // namespace millrace::tools
