// cidr rules, line by line; the first line is the key.
#include <cstdint>

#include "core/base/assert.h"
#include "core/map/cidr.h"
#include "core/map/text.h"

using namespace millrace;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::size_t end = std::min(text.find('\n'), size);
  map::CidrRules rules;
  const map::Warn warn = [](const std::string&) {};
  map::LineReader reader(text.substr(end));
  while (reader.next()) rules.add(reader.line(), reader.number(), warn);
  rules.finish(warn);
  if (const std::string* value = rules.find(text.substr(0, end))) MR_ASSERT(!value->empty());
  if (const auto network = map::parse_network(text.substr(0, end))) {
    MR_ASSERT(network->contains(network->base));
    MR_ASSERT(map::parse_address(map::to_text(network->base)) == network->base);
  }
  return 0;
}
