#include "core/deliver/address.h"

#include <cstdio>

#include "core/base/strings.h"

namespace millrace::deliver {

namespace {
bool is_atom_byte(unsigned char c) {
  if (c >= 0x80) return true;   // RFC 6531 section 3.3
  return c > ' ' && c < 0x7f && std::string_view("()<>[]:;@\\,\"").find(static_cast<char>(c)) == std::string_view::npos;
}

bool is_dot_string(std::string_view local) {
  if (local.empty() || local.front() == '.' || local.back() == '.') return false;
  char last = 0;
  for (const char c : local) {
    if (!is_atom_byte(static_cast<unsigned char>(c)) || (c == '.' && last == '.')) return false;
    last = c;
  }
  return true;
}
}  // namespace

std::string quote_821(std::string_view address) {
  if (address.empty()) return {};
  const std::size_t at = address.rfind('@');
  const std::string_view local = address.substr(0, at);
  std::string out;
  if (is_dot_string(local)) {
    out = local;
  } else {
    out = "\"";
    for (const char c : local) {
      if (c == '\r' || c == '\n' || c == '\0') continue;
      if (c == '"' || c == '\\') out += '\\';
      out += c;
    }
    out += '"';
  }
  if (at != address.npos) {
    // A domain is never quoted; what would end the path or the line does not belong into one.
    for (const char c : address.substr(at)) {
      if (static_cast<unsigned char>(c) > ' ' && c != '<' && c != '>' && c != 0x7f) out += c;
    }
  }
  return out;
}

std::string xtext_encode(std::string_view text) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte > 32 && byte < 127 && c != '+' && c != '=') {
      out += c;
    } else {
      out += '+';
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    }
  }
  return out;
}

std::optional<std::string> xtext_decode(std::string_view text) {
  const auto digit = [](char c) { return is_digit(c) ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1; };
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '+') {
      out += text[i];
      continue;
    }
    if (i + 2 >= text.size() || digit(text[i + 1]) < 0 || digit(text[i + 2]) < 0) return {};
    out += static_cast<char>(digit(text[i + 1]) * 16 + digit(text[i + 2]));
    i += 2;
  }
  return out;
}

std::string uxtext_encode(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size();) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const std::size_t length = byte < 0x80 ? 1 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4;
    const std::string_view character = text.substr(i, length);
    i += length;
    if (byte < 0x80 ? byte > 32 && byte < 127 && byte != '+' && byte != '=' && byte != '\\' : !is_valid_utf8(character)) {
      out += byte < 0x80 ? static_cast<char>(byte) : '?';
      continue;
    }
    unsigned code = byte < 0x80 ? byte : byte & (0x7fU >> length);
    for (const char c : character.substr(1)) code = code << 6 | (static_cast<unsigned char>(c) & 0x3f);
    char hex[16];
    std::snprintf(hex, sizeof hex, "\\x{%02X}", code);
    out += hex;
  }
  return out;
}

namespace {
void put_utf8(unsigned code, std::string& out) {
  const auto tail = [&](int shift) { out += static_cast<char>(0x80 | (code >> shift & 0x3f)); };
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xc0 | code >> 6);
    tail(0);
  } else if (code < 0x10000) {
    out += static_cast<char>(0xe0 | code >> 12);
    tail(6), tail(0);
  } else {
    out += static_cast<char>(0xf0 | code >> 18);
    tail(12), tail(6), tail(0);
  }
}

std::optional<std::string> uxtext_decode(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    if (!text.starts_with("\\x{")) {
      out += text[0];
      text.remove_prefix(1);
      continue;
    }
    const std::size_t end = text.find('}');
    unsigned code = 0;
    if (end == text.npos || end < 4 || end > 9) return {};
    for (const char c : text.substr(3, end - 3)) {
      const int digit = is_digit(c) ? c - '0' : to_lower(c) >= 'a' && to_lower(c) <= 'f' ? to_lower(c) - 'a' + 10 : -1;
      if (digit < 0) return {};
      code = code * 16 + static_cast<unsigned>(digit);
    }
    if (code == 0 || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) return {};
    put_utf8(code, out);
    text.remove_prefix(end + 1);
  }
  return is_valid_utf8(out) ? std::optional(out) : std::nullopt;
}
}  // namespace

std::string decode_orcpt(std::string_view value) {
  const std::size_t semicolon = value.find(';');
  if (semicolon != value.npos && iequals(value.substr(0, semicolon), "utf-8")) {
    const auto address = uxtext_decode(value.substr(semicolon + 1));
    return address ? std::string(value.substr(0, semicolon + 1)) + *address : std::string();
  }
  return xtext_decode(value).value_or("");
}

std::string domain_of(std::string_view address) {
  const std::size_t at = address.rfind('@');
  return at == address.npos ? std::string() : lower(address.substr(at + 1));
}

}  // namespace millrace::deliver
