// What the translator lets through PCRE2 compiles, unless it is too large for it.
#include <cstdint>

#include "core/base/assert.h"
#include "core/map/ere.h"
#include "core/map/regex.h"

using namespace millrace;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0 || size > 256) return 0;
  const std::string_view pattern(reinterpret_cast<const char*>(data) + 1, size - 1);
  const map::PosixSyntax syntax{(data[0] & 1) == 0, (data[0] & 2) != 0, (data[0] & 4) != 0};
  const auto translated = map::translate_posix(pattern, syntax);
  if (!translated) return 0;
  const auto regex = map::Regex::compile(*translated, map::Regex::kDollarEndOnly);
  if (regex) {
    (void)regex->match(pattern, nullptr);
  } else {
    MR_ASSERT(regex.error().context.find("too large") != std::string::npos ||
              regex.error().context.find("too complicated") != std::string::npos ||
              regex.error().context.find("too deep") != std::string::npos ||
              regex.error().context.find("too many") != std::string::npos ||
              regex.error().context.find("too long") != std::string::npos ||
              regex.error().context.find("too big") != std::string::npos);
  }
  return 0;
}
