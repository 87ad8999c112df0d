// Addresses and next hops from anywhere: one word on the wire, xtext comes back, nothing is read beyond.
#include <cstdint>
#include <string>
#include <string_view>

#include "core/base/assert.h"
#include "core/deliver/address.h"
#include "core/deliver/target.h"

using namespace millrace::deliver;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const std::string quoted = quote_821(text);
  MR_ASSERT(quoted.find_first_of(std::string_view("\r\n\0", 3)) == std::string::npos);
  const std::string xtext = xtext_encode(text);
  MR_ASSERT(xtext_decode(xtext) == std::string(text));
  for (const char c : xtext) MR_ASSERT(c > 32 && c < 127 && c != '=');
  (void)xtext_decode(text);
  (void)domain_of(text);
  (void)parse_targets(text.substr(0, 200), {data[0] % 2 == 0, 25, true});
  return 0;
}
