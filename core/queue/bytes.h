// Writing and reading the small binary records of the queue: fixed little-endian numbers, varints and
// length-prefixed strings.  The reader never looks past its input, never allocates by a length field
// that the input does not back, and stays failed once it failed.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace millrace::queue {

inline void put_u8(std::string& out, std::uint8_t value) { out.push_back(static_cast<char>(value)); }

inline void put_u32(std::string& out, std::uint32_t value) {
  for (int shift = 0; shift < 32; shift += 8) out.push_back(static_cast<char>(value >> shift));
}

inline void put_u64(std::string& out, std::uint64_t value) {
  for (int shift = 0; shift < 64; shift += 8) out.push_back(static_cast<char>(value >> shift));
}

inline void put_varint(std::string& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
  out.push_back(static_cast<char>(value));
}

inline void put_string(std::string& out, std::string_view text) {
  put_varint(out, text.size());
  out.append(text);
}

class ByteReader {
 public:
  explicit ByteReader(std::string_view bytes) : bytes_(bytes) {}

  std::uint8_t u8() { return static_cast<std::uint8_t>(fixed(1)); }
  std::uint32_t u32() { return static_cast<std::uint32_t>(fixed(4)); }
  std::uint64_t u64() { return fixed(8); }

  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      const std::uint64_t byte = u8();
      if (failed_) return 0;
      if (shift == 63 && byte > 1) break;  // more than 64 bits
      value |= (byte & 0x7f) << shift;
      if ((byte & 0x80) == 0) return value;
    }
    failed_ = true;
    return 0;
  }

  // A view of the input.
  std::string_view string() { return take(varint()); }

  std::string_view take(std::uint64_t count) {
    if (failed_ || count > bytes_.size()) {
      failed_ = true;
      return {};
    }
    const std::string_view out = bytes_.substr(0, static_cast<std::size_t>(count));
    bytes_.remove_prefix(out.size());
    return out;
  }

  std::string_view rest() { return take(bytes_.size()); }
  std::size_t left() const { return bytes_.size(); }
  bool failed() const { return failed_; }
  // Was all read, and nothing wrong?
  bool finished() const { return !failed_ && bytes_.empty(); }

 private:
  std::uint64_t fixed(unsigned count) {
    const std::string_view raw = take(count);
    std::uint64_t value = 0;
    for (std::size_t i = raw.size(); i-- > 0;) value = value << 8 | static_cast<std::uint8_t>(raw[i]);
    return value;
  }

  std::string_view bytes_;
  bool failed_ = false;
};

}  // namespace millrace::queue
