// Header and Message: see message.h.  Pure; no input here makes it allocate more than a copy of it.
#include "core/mime/message.h"

#include "core/base/strings.h"

namespace millrace::mime {

Header Header::make(std::string_view name, std::string_view value) {
  std::string text;
  text.reserve(name.size() + value.size() + 8);
  text.append(name).append(": ");
  while (!value.empty() && (value.back() == '\n' || value.back() == '\r')) value.remove_suffix(1);
  for (std::size_t i = 0; i < value.size(); ++i) {
    const char c = value[i];
    if (c == '\r' || c == '\0') continue;
    if (c != '\n') {
      text += c;
      continue;
    }
    text += "\r\n";
    // A line that is no continuation would be another header (or end the section): fold it instead.
    const char next = i + 1 < value.size() ? value[i + 1] : ' ';
    if (next != ' ' && next != '\t') text += '\t';
  }
  return Header(std::move(text), name.size());
}

std::string_view Header::raw_value() const {
  const std::size_t colon = text_.find(':', name_length_);
  return colon == std::string::npos ? std::string_view() : std::string_view(text_).substr(colon + 1);
}

std::string Header::milter_value(bool keep_leading_space) const {
  std::string_view raw = raw_value();
  if (!keep_leading_space && !raw.empty() && raw.front() == ' ') raw.remove_prefix(1);
  std::string out;
  out.reserve(raw.size());
  for (const char c : raw) {
    if (c != '\r') out += c;
  }
  return out;
}

std::string Header::unfolded() const {
  const std::string_view raw = trim(raw_value());
  std::string out;
  out.reserve(raw.size());
  for (std::size_t i = 0; i < raw.size(); ++i) {
    if (raw[i] != '\r' && raw[i] != '\n') {
      out += raw[i];
      continue;
    }
    while (i + 1 < raw.size() && is_space(raw[i + 1])) ++i;
    while (!out.empty() && (out.back() == ' ' || out.back() == '\t')) out.pop_back();
    out += ' ';
  }
  return out;
}

std::uint64_t Message::size() const {
  std::uint64_t total = 2 + body.size();
  for (const Header& header : headers) total += header.text().size() + 2;
  return total;
}

const Header* Message::find(std::string_view name, std::size_t nth) const {
  for (const Header& header : headers) {
    if (!header.own_received && iequals(header.name(), name) && --nth == 0) return &header;
  }
  return nullptr;
}

Header* Message::find(std::string_view name, std::size_t nth) {
  return const_cast<Header*>(std::as_const(*this).find(name, nth));
}

std::string Message::header_text() const {
  std::size_t length = 2;
  for (const Header& header : headers) length += header.text().size() + 2;
  std::string out;
  out.reserve(length);
  for (const Header& header : headers) out.append(header.text()).append("\r\n");
  return out.append("\r\n");
}

}  // namespace millrace::mime
