// What is known about each parameter name: rows of params.def and other_names.def, and the names that
// transports in master.cf give rise to (smtp_destination_concurrency_limit).
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/config/config.h"

namespace millrace::config {

enum class ValueType { text, raw, boolean, integer, size, time };
// See other_names.def.  `acted`: a row of params.def, or a derived name that the queue manager reads.
enum class NameClass { acted, harmless, refuse, through, legacy, readonly };

struct NameRow {
  std::string_view name;
  ValueType type = ValueType::text;
  std::string_view fallback;       // default, as written
  std::int64_t low = 0, high = 0;  // 0: no bound
  NameClass name_class = NameClass::acted;
  std::string_view meaning;        // of params.def alone
};

// Sorted by name.
const std::vector<NameRow>& name_rows();
const NameRow* find_name(std::string_view name);

// The unit of a time without a letter: that of the default.
char default_unit(std::string_view fallback);

// nullptr when `value` (expanded) fits the row, else "bad time value" and the like; `why` gets the text.
bool check_value(const NameRow& row, std::string_view value, std::string& why);

struct DerivedName {
  std::string fallback;   // "$default_destination_concurrency_limit"
  ValueType type = ValueType::text;
  NameClass name_class = NameClass::harmless;
};
// Of all transports and spawn services in `services`, and of those in Debian's master.cf, which are known
// whether they are there or not.
std::map<std::string, DerivedName, std::less<>> derived_names(const std::vector<Service>& services);

// The name of the parameter that <transport>_<suffix> falls back to.
std::string derived_fallback(std::string_view suffix);

}  // namespace millrace::config
