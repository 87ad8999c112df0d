#include "core/deliver/templates.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "core/base/strings.h"
#include "core/config/config.h"

namespace millrace::deliver {

namespace {
constexpr std::size_t kMaxBytes = 1 << 20;

// The words are Postfix's: sites, and filters at the sender's side, know them.
constexpr char kFailure[] =
    "This is the mail system at host $myhostname.\r\n\r\n"
    "I'm sorry to have to inform you that your message could not\r\n"
    "be delivered to one or more recipients. It's attached below.\r\n\r\n"
    "For further assistance, please send mail to postmaster.\r\n\r\n"
    "If you do so, please include this problem report. You can\r\n"
    "delete your own text from the attached returned message.\r\n\r\n"
    "                   The mail system\r\n";
constexpr char kDelay[] =
    "This is the mail system at host $myhostname.\r\n\r\n"
    "####################################################################\r\n"
    "# THIS IS A WARNING ONLY.  YOU DO NOT NEED TO RESEND YOUR MESSAGE. #\r\n"
    "####################################################################\r\n\r\n"
    "Your message could not be delivered for more than $delay_warning_time_hours hour(s).\r\n"
    "It will be retried until it is $maximal_queue_lifetime_days day(s) old.\r\n\r\n"
    "For further assistance, please send mail to postmaster.\r\n\r\n"
    "If you do so, please include this problem report. You can\r\n"
    "delete your own text from the attached returned message.\r\n\r\n"
    "                   The mail system\r\n";
constexpr char kSuccess[] =
    "This is the mail system at host $myhostname.\r\n\r\n"
    "Your message was successfully delivered to the destination(s)\r\n"
    "listed below. If the message was delivered to mailbox you will\r\n"
    "receive no further notifications. Otherwise you may still receive\r\n"
    "notifications of mail delivery errors from other systems.\r\n\r\n"
    "                   The mail system\r\n";
constexpr char kVerify[] =
    "This is the mail system at host $myhostname.\r\n\r\n"
    "Enclosed is the mail delivery report that you requested.\r\n\r\n"
    "                   The mail system\r\n";
// Without a domain: the notice's addresses are completed as those of any local message.
constexpr char kFrom[] = "Mail Delivery System <MAILER-DAEMON>";

using Named = std::pair<std::string_view, Template Templates::*>;
constexpr std::array<Named, 4> kNames = {{{"failure", &Templates::failure}, {"delay", &Templates::delay},
                                          {"success", &Templates::success}, {"verify", &Templates::verify}}};

std::string_view next_line(std::string_view& rest) {
  const std::size_t end = rest.find('\n');
  std::string_view line = rest.substr(0, end);
  rest.remove_prefix(end == rest.npos ? rest.size() : end + 1);
  if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  return line;
}

// "Name:" at the start of a line; 0: it is no header.
std::size_t label_length(std::string_view line) {
  std::size_t end = 0;
  while (end < line.size() && line[end] > ' ' && line[end] < 0x7f && line[end] != ':') ++end;
  std::size_t colon = end;
  while (colon < line.size() && (line[colon] == ' ' || line[colon] == '\t')) ++colon;
  return end > 0 && colon < line.size() && line[colon] == ':' ? end : 0;
}

// Headers and text of one template.  What is wrong with it; "" when it may be used.
std::string parse(std::string_view body, std::string_view name, Template& out) {
  std::string_view rest = body;
  while (!rest.empty()) {
    std::string_view ahead = rest;
    const std::string_view line = next_line(ahead);
    if (line.empty()) {
      rest = ahead;   // ends the headers
      break;
    }
    const std::size_t length = label_length(line);
    if (length == 0) break;
    const std::string_view label = line.substr(0, length);
    const std::string_view value = trim(line.substr(line.find(':') + 1));
    if (!is_ascii(line) || std::any_of(line.begin(), line.end(), [](char c) { return c < ' ' && c != '\t'; })) {
      return fmt::format("non-ASCII \"{}\" header in {} template", printable(label), name);
    }
    std::string* field = iequals(label, "charset")              ? &out.charset
                         : iequals(label, "from")               ? &out.from
                         : iequals(label, "subject")            ? &out.subject
                         : iequals(label, "postmaster-subject") ? &out.postmaster_subject
                                                                : nullptr;
    if (field == nullptr) return fmt::format("unknown \"{}\" header label in {} template", printable(label), name);
    if (value.empty()) return fmt::format("empty \"{}\" header in {} template", label, name);
    *field = value;
    rest = ahead;
  }
  if (trim(rest).empty()) return fmt::format("missing message text in {} template", name);
  if (!is_ascii(rest) && iequals(out.charset, "us-ascii")) {
    return fmt::format("8-bit text in {} template: it needs a Charset header other than us-ascii", name);
  }
  out.text.clear();
  while (!rest.empty()) {
    std::string line(next_line(rest));
    std::erase_if(line, [](char c) { return c == '\r' || c == '\0'; });
    out.text.append(line).append("\r\n");
  }
  return {};
}

std::optional<std::string> in_unit(std::string_view name, std::string_view prefix, long seconds) {
  if (!name.starts_with(prefix)) return {};
  name.remove_prefix(prefix.size());
  constexpr std::pair<std::string_view, long> kUnits[] = {
      {"seconds", 1}, {"minutes", 60}, {"hours", 3600}, {"days", 86400}, {"weeks", 604800}};
  for (const auto& [unit, length] : kUnits) {
    if (name == unit) return fmt::format("{:.0f}", static_cast<double>(seconds) / static_cast<double>(length));
  }
  return {};
}
}  // namespace

Templates::Templates() {
  failure = {"us-ascii", kFrom, "Undelivered Mail Returned to Sender", "Postmaster Copy: Undelivered Mail", kFailure};
  delay = {"us-ascii", kFrom, "Delayed Mail (still being retried)", "Postmaster Warning: Delayed Mail", kDelay};
  success = {"us-ascii", kFrom, "Successful Mail Delivery Report", "", kSuccess};
  verify = {"us-ascii", kFrom, "Mail Delivery Status Report", "", kVerify};
}

void read_templates(std::string_view file, Templates& out, const std::function<void(const std::string&)>& warn) {
  std::string_view rest = file.substr(0, kMaxBytes);
  int number = 0;
  const auto say = [&](int line, const std::string& text) { warn(fmt::format("line {}: {}", line, text)); };
  const Templates builtin;
  while (!rest.empty()) {
    const std::string_view line = trim(next_line(rest));
    ++number;
    if (line.empty() || line.front() == '#') continue;
    const int at = number;
    const std::size_t equals = line.find('=');
    const std::string_view value = equals == line.npos ? std::string_view() : trim(line.substr(equals + 1));
    const std::string_view marker = value.starts_with("<<") ? trim(value.substr(2)) : std::string_view();
    if (marker.empty()) {
      say(at, "expected: template_name = <<EOF");
      continue;
    }
    const std::string_view whole = rest;
    std::size_t size = 0;
    bool ended = false;
    while (!rest.empty() && !ended) {
      size = whole.size() - rest.size();
      ended = next_line(rest) == marker;
      ++number;
    }
    if (!ended) {
      say(at, fmt::format("missing \"{}\" end marker", printable(marker)));
      return;
    }
    const std::string_view title = trim(line.substr(0, equals));
    const Named* named = nullptr;
    for (const Named& one : kNames) {
      if (title == std::string(one.first) + "_template") named = &one;
    }
    if (named == nullptr) {
      say(at, fmt::format("unknown template name: {}", printable(title)));
      continue;
    }
    Template read = builtin.*named->second;   // headers that are not given keep their defaults
    const std::string wrong = parse(whole.substr(0, size), named->first, read);
    if (!wrong.empty()) {
      say(at, wrong + " -- ignoring this template");
      continue;
    }
    out.*named->second = std::move(read);
  }
}

Result<void> expand_templates(Templates& templates, long delay_warning_s, long lifetime_s,
                              const std::function<std::optional<std::string>(std::string_view)>& lookup) {
  for (const Named& named : kNames) {
    std::string& text = (templates.*named.second).text;
    std::string undefined;
    auto expanded = config::expand_macros(text, [&](std::string_view name) -> std::optional<std::string> {
      if (auto value = in_unit(name, "delay_warning_time_", delay_warning_s)) return value;
      if (auto value = in_unit(name, "maximal_queue_lifetime_", lifetime_s)) return value;
      auto value = lookup(name);
      if (!value) undefined = name;
      return value;
    });
    if (expanded && !undefined.empty()) {
      return fail(Errc::config, fmt::format("{} template: undefined name: {}", named.first, printable(undefined)));
    }
    if (!expanded) return fail(Errc::config, fmt::format("{} template: {}", named.first, expanded.error().context));
    text = std::move(*expanded);
  }
  return {};
}

}  // namespace millrace::deliver
