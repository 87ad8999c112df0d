// Reads the JSON object that a filter's configure() gets.  Pure; any bytes.
#ifndef MILLRACE_SDK_SETTINGS_HPP
#define MILLRACE_SDK_SETTINGS_HPP

#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "millrace/sdk/text.hpp"

namespace millrace {
namespace sdk {
namespace detail {

inline void append_utf8(std::string& out, unsigned code) {
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xC0 | code >> 6);
    out += static_cast<char>(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    out += static_cast<char>(0xE0 | code >> 12);
    out += static_cast<char>(0x80 | (code >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (code & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | code >> 18);
    out += static_cast<char>(0x80 | (code >> 12 & 0x3F));
    out += static_cast<char>(0x80 | (code >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (code & 0x3F));
  }
}

// The object of strings that configure() gets (RFC 8259 so far as that needs).
class SettingsReader {
 public:
  explicit SettingsReader(std::string_view text) : text_(text) {}
  std::optional<Settings> read() {
    Settings out;
    if (!take('{')) return {};
    if (take('}')) return out;
    do {
      auto name = string();
      if (!name || !take(':')) return {};
      auto value = string();
      if (!value) return {};
      out[std::move(*name)] = std::move(*value);
    } while (take(','));
    if (!take('}')) return {};
    return out;
  }

 private:
  bool take(char wanted) {
    while (at_ < text_.size() && std::strchr(" \t\r\n", text_[at_]) != nullptr) ++at_;
    if (at_ >= text_.size() || text_[at_] != wanted) return false;
    ++at_;
    return true;
  }
  std::optional<unsigned> hex4() {
    unsigned code = 0;
    for (int i = 0; i < 4; ++i, ++at_) {
      const char c = at_ < text_.size() ? text_[at_] : '\0';
      const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
      if (digit < 0) return {};
      code = code * 16 + static_cast<unsigned>(digit);
    }
    return code;
  }
  std::optional<std::string> string() {
    if (!take('"')) return {};
    std::string out;
    while (at_ < text_.size()) {
      const char c = text_[at_++];
      if (c == '"') return out;
      if (c != '\\') {
        out += c;
        continue;
      }
      const char escape = at_ < text_.size() ? text_[at_++] : '\0';
      if (escape == 'u') {
        auto code = hex4();
        if (code && *code >= 0xD800 && *code < 0xDC00 && text_.substr(at_, 2) == "\\u") {
          at_ += 2;
          const auto low = hex4();
          if (!low) return {};
          code = 0x10000 + ((*code - 0xD800) << 10) + (*low - 0xDC00);
        }
        if (!code) return {};
        append_utf8(out, *code);
        continue;
      }
      static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
      const char* const place = escape == '\0' ? nullptr : std::strchr(from, escape);
      if (place == nullptr) return {};
      out += to[place - from];
    }
    return {};
  }
  std::string_view text_;
  std::size_t at_ = 0;
};

}  // namespace detail
}  // namespace sdk
}  // namespace millrace

#endif
