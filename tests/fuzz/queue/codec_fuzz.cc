// Records of the store: whatever decodes encodes again to the same bytes.
#include <cstdint>

#include "core/base/assert.h"
#include "core/queue/checksum.h"
#include "core/queue/codec.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace millrace;
  using namespace millrace::queue;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  mime::Envelope envelope;
  std::vector<RecipientState> recipients;
  if (decode_envelope(bytes, envelope, recipients)) {
    std::string again;
    encode_envelope(envelope, recipients, again);
    mime::Envelope second;
    std::vector<RecipientState> seconds;
    MR_ASSERT(decode_envelope(again, second, seconds));
    MR_ASSERT(second.sender == envelope.sender && seconds.size() == recipients.size());
  }
  // Checksums stand before these decoders: give them one that fits, so that what is behind is reached.
  std::string sealed(bytes);
  const std::uint32_t crc = crc32c(bytes);
  for (int shift = 0; shift < 32; shift += 8) sealed.push_back(static_cast<char>(crc >> shift));
  if (const std::optional<State> state = decode_state(sealed)) {
    std::string again;
    encode_state(*state, again);
    MR_ASSERT(decode_state(again));
  }
  RecipientState recipient;
  (void)decode_recipient(sealed, recipient);
  (void)decode_message_header(bytes);
  (void)decode_message_header(sealed);
  return 0;
}
