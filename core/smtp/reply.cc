// See reply.h.
#include "core/smtp/reply.h"

#include "core/base/strings.h"

namespace millrace::smtp {
namespace {

constexpr std::size_t kMaxLine = 510;   // RFC 5321 section 4.5.3.1.5, without CRLF

void append_line(const Reply& reply, std::string_view text, bool last, std::string& out) {
  const std::size_t start = out.size();
  out += std::to_string(reply.code);
  out += last ? ' ' : '-';
  if (!reply.enhanced.empty()) out.append(reply.enhanced).append(" ");
  const std::string clean = printable(text);
  std::size_t room = kMaxLine - (out.size() - start);
  if (clean.size() <= room) {
    out += clean;
  } else {
    // Never half a UTF-8 character.
    while (room > 0 && (static_cast<unsigned char>(clean[room]) & 0xC0) == 0x80) --room;
    out.append(clean, 0, room);
  }
  out += "\r\n";
}

}  // namespace

std::string Reply::one_line() const {
  std::string out = std::to_string(code) + " ";
  if (!enhanced.empty()) out.append(enhanced).append(" ");
  return out.append(text, 0, text.find('\n'));
}

std::string Reply::wire() const {
  std::string out;
  std::string_view rest = text;
  for (;;) {
    const std::size_t end = rest.find('\n');
    std::string_view line = rest.substr(0, end);
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    append_line(*this, line, end == rest.npos, out);
    if (end == rest.npos) return out;
    rest.remove_prefix(end + 1);
  }
}

void soften(Reply& reply) {
  if (reply.code >= 500 && reply.code < 600) reply.code -= 100;
  if (!reply.enhanced.empty() && reply.enhanced.front() == '5') reply.enhanced.front() = '4';
}

void append_footer(Reply& reply, std::string_view footer) {
  if (footer.substr(0, 2) == "\\c") {
    footer.remove_prefix(2);
  } else {
    reply.text += '\n';
  }
  for (std::size_t end; (end = footer.find("\\n")) != footer.npos; footer.remove_prefix(end + 2)) {
    reply.text.append(footer.substr(0, end)).append("\n");
  }
  reply.text.append(footer);
}

}  // namespace millrace::smtp
