// main.cf text to entries: no name twice, each with a line of the text and without outer blanks.
#include <cstdint>
#include <cstdlib>
#include <set>

#include "core/base/strings.h"
#include "core/config/main_cf.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  millrace::config::Findings findings;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  std::set<std::string> names;
  for (const auto& entry : millrace::config::parse_main_cf(text, "main.cf", findings)) {
    if (entry.name.empty() || !names.insert(entry.name).second) std::abort();
    if (entry.line < 1 || millrace::trim(entry.value).size() != entry.value.size()) std::abort();
  }
  return 0;
}
