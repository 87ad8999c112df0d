// A file of Postfix's queue: an answer in bounded time, and canonical content.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "core/submit/queue_file.h"

using namespace millrace;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  std::string content;
  const auto read = submit::read_queue_file(bytes, submit::failed_recipients(bytes), 100, [&](std::string_view piece) -> Result<void> {
    content += piece;
    if (content.size() > (std::size_t{64} << 20)) return fail(Errc::too_large, "content");
    return {};
  });
  if (read && read->envelope.recipients.size() > 100) std::abort();
  for (std::size_t at = content.find_first_of("\r\n"); at != content.npos; at = content.find_first_of("\r\n", at + 2)) {
    if (content.compare(at, 2, "\r\n") != 0) std::abort();
  }
  return 0;
}
