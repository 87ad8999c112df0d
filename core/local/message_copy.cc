#include "core/local/message_copy.h"

#include <ctime>

#include "core/base/strings.h"
#include "core/rewrite/router.h"

namespace millrace::local {
namespace {
constexpr std::string_view kFrom = "From ";
}

void MessageCopy::begin(std::string& out) const {
  if (options_.from_line) {
    const std::time_t when = static_cast<std::time_t>(options_.when);
    std::tm local{};
    char date[64];
    ::localtime_r(&when, &local);
    std::strftime(date, sizeof date, "%a %b %e %H:%M:%S %Y", &local);
    out += "From " + (options_.sender.empty() ? std::string("MAILER-DAEMON") : options_.sender) + "  " + date + options_.eol;
  }
  if (options_.return_path) out += "Return-Path: <" + options_.sender + ">" + options_.eol;
  if (options_.original_to) out += "X-Original-To: " + options_.original + options_.eol;
  if (options_.delivered_to) out += "Delivered-To: " + options_.delivered + options_.eol;
}

void MessageCopy::start_line(std::string& out) {
  at_line_start_ = false;
  out += held_;
  held_.clear();
}

void MessageCopy::feed(std::string_view canonical, std::string& out) {
  for (std::size_t i = 0; i < canonical.size(); ++i) {
    const char c = canonical[i];
    if (saw_cr_) {
      saw_cr_ = false;
      if (c == '\n') {
        if (at_line_start_) start_line(out);
        out += options_.eol;
        at_line_start_ = true;
        continue;
      }
      if (at_line_start_) start_line(out);
      out += '\r';
    }
    if (c == '\r') {
      saw_cr_ = true;
      continue;
    }
    if (!at_line_start_) {
      // The rest of the line in one go.
      const std::size_t end = std::min(canonical.find('\r', i), canonical.size());
      out.append(canonical.substr(i, end - i));
      i = end - 1;
      continue;
    }
    if (held_.empty() && options_.dot && c == '.') out += '.';
    if (options_.quote_from && c == kFrom[held_.size()]) {
      held_ += c;
      if (held_.size() < kFrom.size()) continue;
      out += '>';
      start_line(out);
      continue;
    }
    start_line(out);
    out += c;
  }
}

void MessageCopy::finish(std::string& out) {
  const bool open_line = !at_line_start_ || !held_.empty() || saw_cr_;
  if (at_line_start_) start_line(out);
  if (saw_cr_) out += '\r';
  if (open_line) out += options_.eol;
  if (options_.blank_line) out += options_.eol;
  at_line_start_ = true;
  saw_cr_ = false;
}

bool has_delivered_to(std::string_view header_section, std::string_view address) {
  const std::string quoted = rewrite::quote_local(std::string(address));
  while (!header_section.empty()) {
    const std::size_t end = std::min(header_section.find('\n'), header_section.size());
    const std::string_view line = trim(header_section.substr(0, end));
    header_section.remove_prefix(std::min(end + 1, header_section.size()));
    if (line.empty()) return false;
    if (!istarts_with(line, "delivered-to:")) continue;
    const std::string_view value = trim(line.substr(13));
    if (iequals(value, quoted) || iequals(value, address)) return true;
  }
  return false;
}

}  // namespace millrace::local
