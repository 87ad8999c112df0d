#include "core/submit/maildrop.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/base/strings.h"

namespace millrace::submit {
namespace {

constexpr std::size_t kMaxAddress = 2048, kMaxName = 1024, kMaxXtext = 2048;
// Bits of trace_flags, as Postfix's sendmail writes them.
constexpr unsigned kTraceVerify = 512, kTraceRecord = 1024;
constexpr unsigned kNotifyBits = mime::kNotifyNever | mime::kNotifySuccess | mime::kNotifyFailure | mime::kNotifyDelay;

Result<void> malformed(const char* what) { return fail(Errc::protocol, std::string("malformed: ") + what); }

bool has_control(std::string_view text) {
  return std::any_of(text.begin(), text.end(),
                     [](char c) { return static_cast<unsigned char>(c) < ' ' || c == 0x7F; });
}

// Printable ASCII without blanks: what may stand behind ENVID= and ORCPT= (RFC 3461 section 4).
bool is_xtext_like(std::string_view text) {
  return text.size() <= kMaxXtext && std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 0x7F; });
}

}  // namespace

MaildropParser::MaildropParser(std::size_t recipient_limit, Content content)
    : recipient_limit_(recipient_limit), content_(std::move(content)) {}

Result<void> MaildropParser::add(std::string_view bytes) {
  buffer_.append(bytes);
  std::size_t used = 0;
  while (used < buffer_.size()) {
    const DecodedRecord decoded = decode_record(std::string_view(buffer_).substr(used));
    if (decoded.status == RecordStatus::need_more) break;
    if (decoded.status == RecordStatus::bad) return malformed("record length");
    if (!order_.accept(decoded.record.type)) return malformed("record type or order");
    if (auto taken = take(decoded.record); !taken) return taken;
    used += decoded.consumed;
  }
  buffer_.erase(0, used);
  if (out_.empty()) return {};
  auto given = content_(out_);
  out_.clear();
  return given;
}

Result<void> MaildropParser::finish() const {
  if (!order_.done() || !buffer_.empty()) return malformed("no end record");
  return {};
}

Result<void> MaildropParser::take(const Record& record) {
  const std::string_view text = record.text;
  switch (record.type) {
    case 'S':
      if (text.size() > kMaxAddress || has_control(text)) return malformed("sender");
      submission_.sender = text;
      return {};
    case 'R': return recipient(text);
    case 'F':
      if (text.size() > kMaxName) return malformed("full name");
      submission_.full_name = printable(text);
      return {};
    case 'A': return attribute(text);
    case 'V':
      if (text.size() != 2 || has_control(text)) return malformed("VERP delimiters");
      submission_.verp = text;
      return {};
    case 'N': return line(text, true);
    case 'L': return line(text, false);
    default: return {};   // T: the file's own time counts; M, X, E have no text of use
  }
}

Result<void> MaildropParser::attribute(std::string_view text) {
  const std::size_t equals = text.find('=');
  if (equals == text.npos) return malformed("attribute");
  const std::string_view name = text.substr(0, equals), value = text.substr(equals + 1);
  const auto number = parse_number<unsigned>(value);
  if (name == "notify_flags") {
    if (!number || (*number & ~kNotifyBits) != 0 || *number == 0) return malformed("notify_flags");
    if ((*number & mime::kNotifyNever) != 0 && *number != mime::kNotifyNever) return malformed("notify_flags");
    next_.notify = *number;
  } else if (name == "dsn_orig_rcpt") {
    if (!is_xtext_like(value)) return malformed("dsn_orig_rcpt");
    next_.orcpt = value;
  } else if (name == "envelope_id") {
    if (!is_xtext_like(value)) return malformed("envelope_id");
    submission_.envid = value;
  } else if (name == "ret_flags") {
    if (!number || *number > 2) return malformed("ret_flags");
    submission_.ret = *number == 1 ? mime::Ret::full : *number == 2 ? mime::Ret::headers : mime::Ret::unset;
  } else if (name == "encoding") {
    if (value == "7bit") submission_.body = mime::BodyType::seven_bit;
    else if (value == "8bit") submission_.body = mime::BodyType::eight_bit;
  } else if (name == "trace_flags") {
    if (!number) return malformed("trace_flags");
    if ((*number & kTraceVerify) != 0) submission_.trace = mime::Trace::verify;
    else if ((*number & kTraceRecord) != 0) submission_.trace = mime::Trace::record;
  } else if (name == "rewrite_context") {
    submission_.gateway = value != "local";
  }
  return {};   // names that mean nothing here are let pass, as Postfix's pickup does
}

Result<void> MaildropParser::recipient(std::string_view address) {
  if (address.size() > kMaxAddress || has_control(address)) return malformed("recipient");
  if (submission_.recipients.size() >= recipient_limit_) return fail(Errc::too_large, "too many recipients");
  next_.address = address;
  submission_.recipients.push_back(std::exchange(next_, {}));
  return {};
}

// A record is a line; what it holds of line ends was put there by hand.
Result<void> MaildropParser::line(std::string_view text, bool ends) {
  while (!text.empty()) {
    const std::size_t end = std::min(text.find_first_of("\r\n"), text.size());
    out_.append(text.substr(0, end));
    if (end == text.size()) break;
    out_ += ' ';
    text.remove_prefix(end + 1);
  }
  if (ends) out_ += "\r\n";
  return {};
}

std::vector<std::string> envelope_attributes(const Submission& submission) {
  std::vector<std::string> out = {submission.gateway ? "rewrite_context=remote" : "rewrite_context=local"};
  if (submission.body == mime::BodyType::seven_bit) out.emplace_back("encoding=7bit");
  if (submission.body == mime::BodyType::eight_bit) out.emplace_back("encoding=8bit");
  if (submission.trace == mime::Trace::verify) out.push_back(fmt::format("trace_flags={}", kTraceVerify));
  if (submission.trace == mime::Trace::record) out.push_back(fmt::format("trace_flags={}", kTraceRecord));
  if (!submission.envid.empty()) out.push_back("envelope_id=" + submission.envid);
  if (submission.ret == mime::Ret::full) out.emplace_back("ret_flags=1");
  if (submission.ret == mime::Ret::headers) out.emplace_back("ret_flags=2");
  return out;
}

std::vector<std::string> recipient_attributes(const mime::Recipient& recipient) {
  std::vector<std::string> out;
  if (recipient.notify != 0) out.push_back(fmt::format("notify_flags={}", recipient.notify));
  if (!recipient.orcpt.empty()) out.push_back("dsn_orig_rcpt=" + recipient.orcpt);
  return out;
}

}  // namespace millrace::submit
