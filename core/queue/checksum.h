// CRC-32C (Castagnoli): the checksum of stored messages and records.  Uses the processor's instruction
// where there is one.  It finds damage, not forgery.
#pragma once

#include <cstdint>
#include <string_view>

namespace millrace::queue {

// Continues from `before` (0 at the start): crc32c(b, crc32c(a)) == crc32c(ab).
std::uint32_t crc32c(std::string_view bytes, std::uint32_t before = 0);

// The table form, for processors without the instruction; here for the test that both agree.
std::uint32_t crc32c_portable(std::string_view bytes, std::uint32_t before = 0);

}  // namespace millrace::queue
