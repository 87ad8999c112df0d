// A postmap source: no line makes an empty key or value, and no key twice.
#include <cstdint>

#include "core/base/assert.h"
#include "core/map/build.h"
#include "core/map/table.h"
#include "core/map/text.h"

using namespace millrace;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  std::size_t warnings = 0;
  map::BuildOptions options;
  options.warn = [&](const std::string&) { ++warnings; };
  for (const auto& [key, value] : map::parse_source(text, "t", options)) MR_ASSERT(!key.empty() && !value.empty());
  for (const std::string& word : map::split_list(text)) MR_ASSERT(!word.empty());
  if (const auto rules = map::inline_rules(text)) MR_ASSERT(rules->size() <= size);
  return 0;
}
