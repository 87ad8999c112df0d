// Any right-hand side of an access table: parts of the input, and no permit but for the words that say so.
#include <cstdint>
#include <cstdlib>

#include "core/base/strings.h"
#include "core/restrict/access_result.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace millrace;
  const std::string_view value(reinterpret_cast<const char*>(data), size);
  const restrict::AccessResult result = restrict::parse_access_result(value);
  if (result.dsn.size() + result.text.size() > size) std::abort();
  if (result.kind == restrict::AccessKind::code && (result.code < 400 || result.code > 599)) std::abort();
  if (result.kind == restrict::AccessKind::ok) {
    std::string_view rest = trim(value);
    const std::string_view word = take_word(rest);
    if (!iequals(word, "ok") && !iequals(word, "relay") && !is_digit(word[0])) std::abort();
  }
  return 0;
}
