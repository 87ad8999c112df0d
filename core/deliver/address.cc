#include "core/deliver/address.h"

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

std::string domain_of(std::string_view address) {
  const std::size_t at = address.rfind('@');
  return at == address.npos ? std::string() : lower(address.substr(at + 1));
}

}  // namespace millrace::deliver
