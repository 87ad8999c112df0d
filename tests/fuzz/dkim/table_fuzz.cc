// Tables of the operator: never a crash, and what is read can be asked.
#include <cstdint>

#include "core/base/assert.h"
#include "plugins/dkim/settings.h"
#include "plugins/dkim/tables.h"

using namespace millrace::dkim;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  (void)parse_key_table(text);
  for (const bool wildcards : {false, true}) {
    const auto table = SigningTable::parse(text, wildcards);
    if (const auto* const good = std::get_if<SigningTable>(&table)) MR_ASSERT(good->find({"user", "a.b.example.com"}).size() <= 10 * good->entries().size());
  }
  const auto networks = parse_networks(text);
  if (const auto* const good = std::get_if<std::vector<Network>>(&networks)) (void)is_in(*good, "192.0.2.1");
  return 0;
}
