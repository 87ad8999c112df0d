#include "core/postdrop/settings.h"

namespace millrace::postdrop {
namespace {

constexpr std::string_view kBlanks = " \t\r\n";
constexpr std::string_view kSeparators = ", \t\r\n";
constexpr int kMaxDepth = 20;
constexpr std::size_t kMaxValue = 64 * 1024;

std::string_view trimmed(std::string_view text) {
  const std::size_t from = text.find_first_not_of(kBlanks);
  if (from == text.npos) return {};
  return text.substr(from, text.find_last_not_of(kBlanks) - from + 1);
}

bool is_name_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

// The next word of `text`, cut off it; "" at the end.
std::string_view next_word(std::string_view& text) {
  const std::size_t from = text.find_first_not_of(kSeparators);
  if (from == text.npos) return {};
  text.remove_prefix(from);
  const std::string_view word = text.substr(0, text.find_first_of(kSeparators));
  text.remove_prefix(word.size());
  return word;
}

}  // namespace

Settings::Settings(std::string_view main_cf, std::string config_directory) {
  std::string logical;
  const auto take = [&] {
    const std::size_t equals = logical.find('=');
    if (equals != logical.npos) {
      raw_[std::string(trimmed(std::string_view(logical).substr(0, equals)))] =
          trimmed(std::string_view(logical).substr(equals + 1));
    }
    logical.clear();
  };
  while (!main_cf.empty()) {
    const std::size_t end = main_cf.find('\n');
    const std::string_view line = main_cf.substr(0, end);
    main_cf.remove_prefix(end == main_cf.npos ? main_cf.size() : end + 1);
    const std::string_view text = trimmed(line);
    if (text.empty() || text.front() == '#') continue;   // also between the parts of a logical line
    if (line.front() != ' ' && line.front() != '\t') take();
    if (!logical.empty()) logical += ' ';
    logical.append(text);
  }
  take();
  raw_["config_directory"] = std::move(config_directory);
}

std::optional<std::string> Settings::expand(std::string_view text, int depth) const {
  if (depth > kMaxDepth) return std::nullopt;
  std::string out;
  while (!text.empty()) {
    const std::size_t dollar = text.find('$');
    out.append(text.substr(0, dollar));
    if (dollar == text.npos) break;
    text.remove_prefix(dollar + 1);
    if (!text.empty() && text.front() == '$') {
      out += '$';
      text.remove_prefix(1);
      continue;
    }
    const bool braces = !text.empty() && (text.front() == '{' || text.front() == '(');
    if (braces) text.remove_prefix(1);
    std::size_t length = 0;
    while (length < text.size() && is_name_character(text[length])) ++length;
    const std::string name(text.substr(0, length));
    text.remove_prefix(length);
    if (braces) {
      if (text.empty() || (text.front() != '}' && text.front() != ')')) return std::nullopt;
      text.remove_prefix(1);
    }
    const auto found = raw_.find(name);
    if (name.empty() || found == raw_.end()) return std::nullopt;
    const auto value = expand(found->second, depth + 1);
    if (!value || out.size() + value->size() > kMaxValue) return std::nullopt;
    out += *value;
  }
  return out;
}

std::optional<std::string> Settings::value(const std::string& name, const std::string& fallback) const {
  const auto found = raw_.find(name);
  return found == raw_.end() ? std::optional(fallback) : expand(found->second, 0);
}

Allowed is_listed(std::string_view list, std::string_view user) {
  for (std::string_view word = next_word(list); !word.empty(); word = next_word(list)) {
    bool listed = true;
    for (; !word.empty() && word.front() == '!'; word.remove_prefix(1)) listed = !listed;
    const bool fixed = word.substr(0, 7) == "static:";
    if (!fixed && word.find_first_of(":/{") != word.npos) return Allowed::ask_others;
    if (fixed || word == user) return listed ? Allowed::yes : Allowed::no;
  }
  return Allowed::no;
}

bool is_word_of(std::string_view list, std::string_view wanted) {
  for (std::string_view word = next_word(list); !word.empty(); word = next_word(list)) {
    if (word == wanted) return true;
  }
  return false;
}

}  // namespace millrace::postdrop
