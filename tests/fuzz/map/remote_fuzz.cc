// Replies of table servers, byte by byte: the first byte chooses the protocol.
#include <cstdint>

#include "core/base/assert.h"
#include "core/map/remote_wire.h"

using namespace millrace::map;
using Status = RemoteReply::Status;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const auto parse = data[0] % 2 == 0 ? parse_socketmap_reply : parse_tcp_reply;
  const RemoteReply whole = parse(bytes);
  MR_ASSERT(whole.consumed <= bytes.size());
  if (whole.status == Status::found) MR_ASSERT(whole.text.find('\0') == std::string::npos);
  // What is an answer stays one when more follows, and what a prefix says is never taken back.
  for (std::size_t n = 0; n < bytes.size() && n < 64; ++n) {
    const RemoteReply part = parse(bytes.substr(0, n));
    if (part.status == Status::found || part.status == Status::not_found || part.status == Status::failed) {
      MR_ASSERT(whole.status == part.status && whole.text == part.text);
    }
  }
  const std::string request = data[0] % 2 == 0 ? socketmap_request("m", bytes) : tcp_request(bytes);
  if (data[0] % 2 != 0) MR_ASSERT(request.find('\n') == request.size() - 1);
  return 0;
}
