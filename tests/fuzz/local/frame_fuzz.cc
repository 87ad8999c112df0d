// Frames between the queue process and the master: whatever decodes encodes again to the same bytes.
#include <cstdint>

#include "core/base/assert.h"
#include "core/local/frame.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace millrace::local;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  if (const auto request = decode_request(bytes)) {
    std::string again;
    MR_ASSERT(encode(*request, again));
    const auto back = decode_request(again);
    MR_ASSERT(back && back->values == request->values && back->service == request->service);
  }
  if (const auto answer = decode_answer(bytes)) {
    std::string again;
    encode(*answer, again);
    MR_ASSERT(decode_answer(again));
  }
  return 0;
}
