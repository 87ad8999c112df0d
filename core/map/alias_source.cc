#include "core/map/alias_source.h"

#include "core/base/strings.h"
#include "core/map/text.h"

namespace millrace::map {

namespace {

// Cuts "name: value" at the first colon outside of quotes; the name loses its quotes and backslashes.  False: no
// colon.
bool cut_alias(std::string_view line, std::string& name, std::string_view& value) {
  bool quoted = false;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '"') {
      quoted = !quoted;
    } else if (line[i] == '\\' && i + 1 < line.size()) {
      name += line[++i];
    } else if (line[i] == ':' && !quoted) {
      value = trim(line.substr(i + 1));
      name = std::string(trim(name));
      return true;
    } else {
      name += line[i];
    }
  }
  return false;
}

}  // namespace

std::map<std::string, std::string> parse_aliases(std::string_view text, const std::string& name,
                                                 const BuildOptions& options) {
  std::map<std::string, std::string> out;
  LineReader reader(text);
  while (reader.next()) {
    const auto warn = [&](const std::string& what) {
      if (options.warn) options.warn(name + ", line " + std::to_string(reader.number()) + ": " + what);
    };
    std::string alias;
    std::string_view value;
    if (!cut_alias(reader.line(), alias, value) || alias.empty() || value.empty()) {
      warn("need name:value pair");
      continue;
    }
    if (alias.find('@') != alias.npos) {
      warn("name must be local");
      continue;
    }
    std::string key = lower(alias);
    const auto at = out.find(key);
    if (at == out.end()) {
      out.emplace(std::move(key), value);
    } else if (options.duplicates == BuildOptions::Duplicates::replace) {
      at->second = value;
    } else if (options.duplicates == BuildOptions::Duplicates::warn) {
      warn("duplicate entry: \"" + printable(key) + "\"");
    }
  }
  return out;
}

}  // namespace millrace::map
