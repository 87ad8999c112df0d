// A right-hand side of transport_maps always leaves a transport.
#include <cstdint>

#include "core/base/assert.h"
#include "core/rewrite/transport_entry.h"

using namespace millrace;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  rewrite::Destination destination{"smtp", "hop"};
  rewrite::apply_table_result(text, "dom.example", destination);
  MR_ASSERT(!destination.transport.empty() && !destination.nexthop.empty());
  MR_ASSERT(destination.transport.find(':') == std::string::npos);
  return 0;
}
