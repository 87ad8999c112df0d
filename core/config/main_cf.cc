#include "core/config/main_cf.h"

#include <fmt/format.h>

#include <unordered_map>

#include "core/base/strings.h"
#include "core/config/lines.h"

namespace millrace::config {

const char* split_assignment(std::string_view text, std::string_view& name, std::string_view& value) {
  text = trim(text);
  std::size_t end = 0;
  while (end < text.size() && !is_space(text[end]) && text[end] != '=') ++end;
  if (end == 0) return "missing attribute name";
  std::string_view rest = trim(text.substr(end));
  if (rest.empty() || rest[0] != '=') return "missing '=' after attribute name";
  name = text.substr(0, end);
  value = trim(rest.substr(1));
  return nullptr;
}

std::vector<Entry> parse_main_cf(std::string_view text, const std::string& file, Findings& findings) {
  std::vector<Entry> out;
  std::unordered_map<std::string, std::size_t> index;
  for (const LogicalLine& line : logical_lines(text)) {
    const Location where{file, line.number};
    if (line.continues_nothing) {
      findings.warning(where, "", fmt::format("logical line must not start with whitespace: \"{}\"",
                                              printable(line.text.substr(0, 30))));
      continue;
    }
    std::string_view name, value;
    const char* problem = line.text.find('\0') != std::string::npos
                              ? "a null byte"
                              : split_assignment(line.text, name, value);
    if (problem != nullptr) {
      findings.error(where, "", fmt::format("{}: \"{}\"", problem, printable(line.text.substr(0, 100))));
      continue;
    }
    const auto [place, is_new] = index.emplace(std::string(name), out.size());
    if (is_new) {
      out.push_back({std::string(name), std::string(value), line.number});
      continue;
    }
    Entry& old = out[place->second];
    if (old.value != value) {
      findings.warning(where, "", fmt::format("overriding earlier entry: {}={}", old.name, old.value));
    }
    old.value = value;
    old.line = line.number;
  }
  return out;
}

}  // namespace millrace::config
