// Any text as a list of addresses: an edit that gives nothing changes nothing, and what was printed is read alike.
#include <cstdint>

#include "core/base/assert.h"
#include "core/rewrite/address_list.h"

using namespace millrace;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0 || size > 65536) return 0;
  std::string text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const std::string before = text;
  for (const rewrite::Tokens& tokens : rewrite::find_addresses(text, data[0])) MR_ASSERT(!tokens.empty());
  const auto kept = rewrite::edit_addresses(text, 4, data[0], [](const rewrite::Tokens&) -> Result<std::optional<std::string>> {
    return std::optional<std::string>();
  });
  MR_ASSERT(kept && !*kept && text == before);
  const auto changed = rewrite::edit_addresses(text, 4, data[0], [](const rewrite::Tokens& tokens) -> Result<std::optional<std::string>> {
    return std::optional<std::string>(rewrite::internal_text(tokens));
  });
  MR_ASSERT(changed.has_value());
  if (*changed) {
    // A new line is always a continuation.
    for (std::size_t at = text.find('\n'); at != std::string::npos; at = text.find('\n', at + 1)) {
      MR_ASSERT(at > 0 && text[at - 1] == '\r' && at + 1 < text.size() && text[at + 1] == '\t');
    }
  }
  return 0;
}
