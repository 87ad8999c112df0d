// Any answer of a policy service: a status, never more consumed than there is, prefixes never decide more.
#include <cstdint>
#include <cstdlib>

#include "core/policy/wire.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace millrace::policy;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const Decoded whole = decode(text);
  if (whole.consumed > size) std::abort();
  if (whole.status == DecodeStatus::ok) {
    if (decode(text.substr(0, whole.consumed)).action != whole.action) std::abort();
    if (decode(text.substr(0, whole.consumed - 1)).status != DecodeStatus::need_more) std::abort();
  }
  return 0;
}
