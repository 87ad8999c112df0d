// See cleanup.h.
#include "core/mime/cleanup.h"

#include <time.h>

#include <algorithm>

#include "core/base/strings.h"
#include "core/mime/builder.h"

namespace millrace::mime {
namespace {

// "20261121115052": the time of a generated Message-Id, in UTC.
std::string message_id_time(WallMicros when) {
  const time_t seconds = static_cast<time_t>(when / 1000000);
  tm parts{};
  gmtime_r(&seconds, &parts);
  char text[32];
  strftime(text, sizeof text, "%Y%m%d%H%M%S", &parts);
  return text;
}

char escape_value(char c) {
  switch (c) {
    case 'a': return '\a';
    case 'b': return '\b';
    case 'f': return '\f';
    case 'n': return '\n';
    case 'r': return '\r';
    case 't': return '\t';
    case 'v': return '\v';
    default: return c;
  }
}

}  // namespace

std::vector<std::string> parse_header_names(std::string_view text) {
  std::vector<std::string> out;
  for (const std::string_view name : split(text, ", \t\r\n")) out.emplace_back(name);
  return out;
}

std::size_t count_hops(const Message& message) {
  return static_cast<std::size_t>(std::count_if(message.headers.begin(), message.headers.end(),
                                                [](const Header& h) { return iequals(h.name(), "Received"); }));
}

void apply_header_policy(Message& message, const HeaderPolicy& policy, std::string_view queue_id,
                         std::string_view sender_quoted, WallMicros arrival, std::vector<std::string>& log) {
  bool resent = false, has_id = false, has_recipients = false;
  bool seen_id = false, seen_date = false, seen_from = false;
  for (const Header& header : message.headers) {
    if (istarts_with(header.name(), "Resent-")) resent = true;
  }
  const std::string prefix = resent ? "Resent-" : "";
  for (const Header& header : message.headers) {
    const std::string_view name = header.name();
    const bool message_id = iequals(name, "Message-Id");
    if (message_id || iequals(name, "Resent-Message-Id")) {
      has_id = has_id || message_id;
      log.push_back(std::string(message_id ? "" : "resent-") + "message-id=" + header.unfolded());
    }
    if (iequals(name, prefix + "Message-Id")) seen_id = true;
    if (iequals(name, prefix + "Date")) seen_date = true;
    if (iequals(name, prefix + "From")) seen_from = true;
    for (const char* destination : {"To", "Cc", "Resent-To", "Resent-Cc"}) {
      if (iequals(name, destination)) has_recipients = true;
    }
  }
  if (!policy.drop.empty()) {
    std::erase_if(message.headers, [&](const Header& header) {
      return std::any_of(policy.drop.begin(), policy.drop.end(),
                         [&](const std::string& name) { return iequals(header.name(), name); });
    });
  }
  if (policy.add_missing) {
    const std::size_t given = message.headers.size();
    if (!seen_id) {
      std::string id = "<";
      if (!policy.long_queue_ids) id.append(message_id_time(arrival)).append(".");
      id.append(queue_id).append("@").append(policy.host).append(">");
      message.headers.push_back(Header::make(prefix + "Message-Id", id));
      log.push_back(std::string(resent ? "resent-" : "") + "message-id=" + id);
      has_id = has_id || !resent;
    }
    if (!seen_date) message.headers.push_back(Header::make(prefix + "Date", rfc5322_date(arrival)));
    if (!seen_from) {
      message.headers.push_back(
          Header::make(prefix + "From", sender_quoted.empty() ? "MAILER-DAEMON" : sender_quoted));
    }
    if (!has_recipients && !policy.undisclosed_recipients.empty()) {
      const std::string_view text = policy.undisclosed_recipients;
      const std::size_t name = header_name_length(text);
      if (name > 0) {
        message.headers.push_back(
            Header::make(prefix + std::string(text.substr(0, name)), trim(text.substr(text.find(':') + 1))));
      }
    }
    for (std::size_t i = given; i < message.headers.size(); ++i) message.headers[i].generated = true;
  }
  if (!has_id) log.emplace_back("message-id=<>");
}

CharacterSet::CharacterSet(std::string_view escaped) {
  for (std::size_t i = 0; i < escaped.size(); ++i) {
    if (escaped[i] != '\\' || i + 1 == escaped.size()) {
      characters_ += escaped[i];
      continue;
    }
    ++i;
    if (escaped[i] < '0' || escaped[i] > '7') {
      characters_ += escape_value(escaped[i]);
      continue;
    }
    unsigned value = 0;
    std::size_t digits = 0;
    for (; digits < 3 && i + digits < escaped.size() && escaped[i + digits] >= '0' && escaped[i + digits] <= '7'; ++digits) {
      value = value * 8 + static_cast<unsigned>(escaped[i + digits] - '0');
    }
    i += digits - 1;
    characters_ += static_cast<char>(value & 0xFF);
  }
}

CharacterSet CharacterSet::without(std::string_view others) const {
  CharacterSet out = *this;
  std::erase_if(out.characters_, [&](char c) { return others.find(c) != others.npos; });
  return out;
}

void CharacterSet::strip(std::string& text) const {
  if (empty()) return;
  std::erase_if(text, [&](char c) { return characters_.find(c) != std::string::npos; });
}

}  // namespace millrace::mime
