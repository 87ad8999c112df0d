// master.cf text to services: what is accepted has a name, a type and a command.
#include <cstdint>
#include <cstdlib>

#include "core/config/master_cf.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  millrace::config::Findings findings;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  for (const auto& service : millrace::config::parse_master_cf(text, "master.cf", false, findings)) {
    if (service.name.empty() || service.type.empty() || service.command.empty()) std::abort();
    if (service.fields.size() < 8 || service.wakeup_s < 0 || service.process_limit < -1) std::abort();
  }
  return 0;
}
