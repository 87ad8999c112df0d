// What a filter sends: packets, and the payloads of all answers.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "core/filter/element.h"
#include "core/milter/macros.h"
#include "core/milter/wire.h"

using namespace millrace::milter;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  for (;;) {
    const Decoded decoded = decode(rest, 65536);
    if (decoded.status != DecodeStatus::ok) break;
    std::string again;
    encode(decoded.packet.command, decoded.packet.data, again);
    if (again != rest.substr(0, decoded.consumed)) std::abort();
    const std::string_view payload = decoded.packet.data;
    if (const auto options = decode_options(payload)) {
      std::string bytes;
      encode_options(*options, bytes);
      if (!decode_options(std::string_view(bytes).substr(kHeadLength))) std::abort();
    }
    if (const auto reply = parse_reply_text(payload)) {
      if (reply->code < 400 || reply->code > 599) std::abort();
      if (reply->text.find_first_of(std::string_view("\r\0", 2)) != std::string::npos) std::abort();
    }
    parse_header_edit(payload, false);
    parse_header_edit(payload, true);
    (void)parse_address_edit(payload, true);
    (void)parse_address_edit(payload, false);
    (void)millrace::filter::parse_element(payload);
    parse_macro_names(payload);
    rest.remove_prefix(decoded.consumed);
  }
  return 0;
}
