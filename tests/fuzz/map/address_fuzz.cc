// Quoting an address and taking the quotes off gives the address back.
#include <cstdint>

#include "core/base/assert.h"
#include "core/map/table.h"
#include "core/map/text.h"

using namespace millrace;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view address(reinterpret_cast<const char*>(data), size);
  (void)map::unquote_address(address);
  MR_ASSERT(map::unquote_address(map::quote_address(address)) == address);
  const auto [user, extension] = map::split_extension(address, "+-");
  MR_ASSERT(user.size() + extension.size() == size);
  return 0;
}
