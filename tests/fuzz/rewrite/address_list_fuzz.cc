// Any text as a list of addresses: spans in order and inside it, and an edit that gives nothing changes nothing.
#include <cstdint>

#include "core/base/assert.h"
#include "core/rewrite/address_list.h"

using namespace millrace;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0 || size > 65536) return 0;
  std::string text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const std::string before = text;
  std::size_t last = 0;
  for (const rewrite::AddressSpan& span : rewrite::find_addresses(text, data[0])) {
    MR_ASSERT(span.begin >= last && span.begin < span.end && span.end <= text.size());
    MR_ASSERT(!span.tokens.empty());
    last = span.end;
  }
  const auto kept = rewrite::edit_addresses(text, data[0], [](const rewrite::Tokens&) -> Result<std::optional<std::string>> {
    return std::optional<std::string>();
  });
  MR_ASSERT(kept && !*kept && text == before);
  MR_ASSERT(rewrite::edit_addresses(text, data[0], [](const rewrite::Tokens& tokens) -> Result<std::optional<std::string>> {
    return std::optional<std::string>(rewrite::internal_text(tokens));
  }));
  return 0;
}
