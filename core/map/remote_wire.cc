#include "core/map/remote_wire.h"

#include "core/base/strings.h"

namespace millrace::map {

namespace {

using Status = RemoteReply::Status;

constexpr std::size_t kLengthDigits = 9;

bool is_digit(char c) { return c >= '0' && c <= '9'; }

int hex_value(char c) {
  if (is_digit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// False: a percent sign that no two digits follow.
bool unquote(std::string_view text, std::string& out) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    if (i + 2 >= text.size() || hex_value(text[i + 1]) < 0 || hex_value(text[i + 2]) < 0) return false;
    out += static_cast<char>(hex_value(text[i + 1]) * 16 + hex_value(text[i + 2]));
    i += 2;
  }
  return true;
}

// A value goes into headers, addresses and C strings: one with a NUL in it is no value.
RemoteReply found(std::string value, std::size_t consumed) {
  const bool whole = value.find('\0') == value.npos;
  return {whole ? Status::found : Status::malformed, std::move(value), consumed};
}

}  // namespace

std::string socketmap_request(std::string_view map_name, std::string_view key) {
  std::string out = std::to_string(map_name.size() + 1 + key.size()) + ":";
  out.append(map_name).append(" ").append(key);
  return out += ',';
}

RemoteReply parse_socketmap_reply(std::string_view bytes) {
  std::size_t digits = 0, length = 0;
  while (digits < bytes.size() && is_digit(bytes[digits]) && digits < kLengthDigits) {
    length = length * 10 + static_cast<std::size_t>(bytes[digits++] - '0');
  }
  if (length > kSocketmapReplyLimit) return {Status::too_large, {}, 0};
  if (digits == bytes.size()) return {};
  if (digits == 0 || bytes[digits] != ':') return {Status::malformed, std::string(bytes.substr(0, 100)), 0};
  if (bytes.size() < digits + 1 + length + 1) return {};
  const std::string_view content = bytes.substr(digits + 1, length);
  const std::size_t consumed = digits + 1 + length + 1;
  if (bytes[consumed - 1] != ',') return {Status::malformed, std::string(content.substr(0, 100)), consumed};
  const std::size_t space = content.find(' ');
  const std::string_view word = content.substr(0, space);
  // "OK" alone says that there is nothing.
  if (word == "OK" && space != content.npos) return found(std::string(content.substr(space + 1)), consumed);
  if (word == "OK" || word == "NOTFOUND") return {Status::not_found, {}, consumed};
  if (word == "TEMP" || word == "TIMEOUT" || word == "PERM") return {Status::failed, std::string(content), consumed};
  return {Status::malformed, std::string(content.substr(0, 100)), consumed};
}

std::string tcp_request(std::string_view key) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string out = "get ";
  for (const char c : key) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte > ' ' && byte < 0x7f && c != '%') {
      out += c;
    } else {
      out += '%';
      out += kDigits[byte >> 4];
      out += kDigits[byte & 15];
    }
  }
  return out += '\n';
}

RemoteReply parse_tcp_reply(std::string_view bytes) {
  const std::size_t newline = bytes.substr(0, kTcpReplyLimit).find('\n');
  if (newline == bytes.npos) return {bytes.size() < kTcpReplyLimit ? Status::need_more : Status::too_large, {}, 0};
  const std::string_view line = bytes.substr(0, newline);
  const std::size_t consumed = newline + 1;
  const RemoteReply bad{Status::malformed, std::string(line.substr(0, 100)), consumed};
  if (line.size() < 3 || !is_digit(line[0]) || !is_digit(line[1]) || !is_digit(line[2])) return bad;
  if (line.size() > 3 && !is_space(line[3])) return bad;
  std::string text;
  if (!unquote(line.size() > 4 ? line.substr(4) : std::string_view(), text)) return bad;
  switch (line[0]) {
    case '2': return found(std::move(text), consumed);
    case '4': return {Status::failed, std::move(text), consumed};
    case '5': return {Status::not_found, {}, consumed};
    default: return bad;
  }
}

}  // namespace millrace::map
