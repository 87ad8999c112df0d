// Tag lists (RFC 6376 section 3.2) and base64 as DKIM writes them.  Pure; nothing here grows beyond its input.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace millrace::dkim {

struct Tag {
  std::string_view name, value;   // without white space around them
  std::size_t begin, end;         // of all that stands between "=" and ";", white space included
};
constexpr std::size_t kMaxTags = 64;

// nullopt: no tag list, a name that comes twice, or more than kMaxTags.  An empty part is allowed at the end, with
// `lenient` anywhere.  The views are into `text`.
std::optional<std::vector<Tag>> parse_tags(std::string_view text, bool lenient = false);
// nullptr: there is none.
const Tag* find_tag(const std::vector<Tag>& tags, std::string_view name);

// Folding white space goes: SP, HTAB, CR, LF.
std::string without_space(std::string_view text);
std::string_view trim_space(std::string_view text);
std::string lower(std::string_view text);

// White space is skipped; padding must be right. nullopt: no base64.
std::optional<std::string> decode_base64(std::string_view text);
std::string encode_base64(std::string_view bytes);
// Digits alone, at most 18 of them.
std::optional<unsigned long long> parse_number(std::string_view text);

}  // namespace millrace::dkim
