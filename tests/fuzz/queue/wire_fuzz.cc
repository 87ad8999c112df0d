// Frames of the queue and control sockets.
#include <cstdint>

#include "core/base/assert.h"
#include "core/queue/control_wire.h"
#include "core/queue/wire.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace millrace::queue;
  std::string_view bytes(reinterpret_cast<const char*>(data), size);
  std::vector<Listing> listings;
  while (true) {
    const wire::Frame frame = wire::decode(bytes);
    if (frame.status != wire::DecodeStatus::ok) return 0;
    MR_ASSERT(frame.consumed <= bytes.size() && frame.payload.size() < frame.consumed);
    wire::Submit submit;
    wire::Reserve reserve;
    wire::Verify verify;
    wire::Answer answer;
    Strings strings;
    (void)wire::parse(frame.payload, submit);
    (void)wire::parse(frame.payload, reserve);
    (void)wire::parse(frame.payload, verify);
    (void)wire::parse_answer(frame.type, frame.payload, answer);
    if (wire::parse_strings(frame.payload, strings)) {
      std::string again;
      wire::put_strings(frame.type, strings, again);
      Strings back;
      MR_ASSERT(wire::parse_strings(wire::decode(again).payload, back) && back == strings);
      (void)decode_listing(strings, listings);
      (void)decode_entry(strings);
    }
    bytes.remove_prefix(frame.consumed);
  }
}
