// Macro expansion: lines "name=value" define parameters, the text after the first empty line is expanded.
#include <cstdint>
#include <cstdlib>
#include <map>
#include <string>

#include "core/config/macro.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  std::map<std::string, std::string, std::less<>> values;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    if (line.empty()) break;
    const std::size_t equals = std::min(line.find('='), line.size() - 1);
    values.emplace(line.substr(0, equals), line.substr(equals + 1));
  }
  const auto lookup = [&](std::string_view name) -> std::optional<std::string> {
    const auto at = values.find(name);
    if (at == values.end()) return {};
    return at->second;
  };
  for (const auto recurse : {millrace::config::Recurse::yes, millrace::config::Recurse::no}) {
    const auto out = millrace::config::expand_macros(text, lookup, recurse);
    if (out && out->size() > millrace::config::kMacroBytes) std::abort();
  }
  std::size_t names = 0;
  millrace::config::for_each_macro(text, [&](std::string_view) { ++names; });
  return names > size ? (std::abort(), 0) : 0;
}
