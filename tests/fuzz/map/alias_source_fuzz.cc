// An aliases(5) file.
#include <cstdint>

#include "core/base/assert.h"
#include "core/base/strings.h"
#include "core/map/alias_source.h"

using namespace millrace;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  for (const auto& [key, value] : map::parse_aliases(text, "aliases", {})) {
    MR_ASSERT(!key.empty() && !value.empty());
    MR_ASSERT(key == lower(key));
  }
  return 0;
}
