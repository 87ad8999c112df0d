// Small text helpers.  ASCII only: mail's keywords are ASCII, and locale must never change a match.
#pragma once

#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace millrace {

constexpr char to_lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }
constexpr char to_upper(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; }
constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }
constexpr bool is_alpha(char c) { return to_lower(c) >= 'a' && to_lower(c) <= 'z'; }
constexpr bool is_alnum(char c) { return is_digit(c) || is_alpha(c); }
constexpr bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

std::string lower(std::string_view text);
std::string upper(std::string_view text);
bool iequals(std::string_view a, std::string_view b);
bool istarts_with(std::string_view text, std::string_view prefix);
bool iends_with(std::string_view text, std::string_view suffix);
std::string_view trim(std::string_view text);

// The pieces between separators (any character of `separators`); empty pieces are left out.
std::vector<std::string_view> split(std::string_view text, std::string_view separators);

// Cuts the first word off `text` (separators as above); empty when there is none.
std::string_view take_word(std::string_view& text, std::string_view separators = " \t\r\n");

// Unsigned decimal number that fills the whole text; nullopt on anything else or overflow.
template <typename Int = std::uint64_t>
std::optional<Int> parse_number(std::string_view text) {
  Int value{};
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || text[0] == '-' || ec != std::errc() || end != text.data() + text.size()) return {};
  return value;
}

// Every control byte (and DEL) replaced by '?', and every byte of invalid UTF-8: text from a peer on
// its way to a log or a reply.
std::string printable(std::string_view text);

bool is_valid_utf8(std::string_view text);
bool is_ascii(std::string_view text);  // no byte above 127

}  // namespace millrace
