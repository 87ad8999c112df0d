// Tables made of tables: see combined.h.
#include "core/map/combined.h"

#include "core/base/strings.h"
#include "core/map/text.h"

namespace millrace::map {

Result<std::vector<std::string>> combined_parts(std::string_view type, std::string_view argument) {
  const std::string name(type);
  const auto bad = [&] {
    return fail(Errc::config,
                "bad syntax: \"" + name + ":" + printable(argument) + "\"; need \"" + name + ":{type:name...}\"");
  };
  const auto inner = strip_braces(argument);
  if (!inner) return bad();
  std::vector<std::string> parts = split_list(*inner);
  if (parts.empty()) return bad();
  for (const std::string& part : parts) {
    if (part.find(':') == part.npos) return bad();
  }
  return parts;
}

Lookup find_union(Parts parts, std::string_view key) {
  std::optional<std::string> all;
  for (const auto& part : parts) {
    const Lookup found = part->find(key);
    if (!found) return found;
    if (!*found) continue;
    if (all) {
      *all += ',';
      *all += **found;
    } else {
      all = **found;
    }
  }
  return all;
}

Lookup find_piped(Parts parts, std::string_view key) {
  Lookup found = std::optional<std::string>(key);
  for (const auto& part : parts) {
    found = part->find(**found);
    if (!found || !*found) return found;
  }
  return found;
}

}  // namespace millrace::map
