#include "core/submit/record.h"

namespace millrace::submit {

DecodedRecord decode_record(std::string_view bytes, std::size_t limit) {
  DecodedRecord out;
  if (bytes.size() < 2) return out;
  std::size_t length = 0, at = 1;
  for (unsigned shift = 0;; shift += 7) {
    if (shift > 28) {
      out.status = RecordStatus::bad;
      return out;
    }
    if (at == bytes.size()) return out;
    const auto group = static_cast<unsigned char>(bytes[at++]);
    length |= static_cast<std::size_t>(group & 0x7F) << shift;
    if ((group & 0x80) == 0) break;
  }
  if (length > limit) {
    out.status = RecordStatus::bad;
    return out;
  }
  if (bytes.size() - at < length) return out;
  out.status = RecordStatus::ok;
  out.consumed = at + length;
  out.record = {bytes[0], bytes.substr(at, length)};
  return out;
}

void encode_record(char type, std::string_view text, std::string& out) {
  out += type;
  std::size_t length = text.size();
  do {
    const auto group = static_cast<unsigned char>(length & 0x7F);
    length >>= 7;
    out += static_cast<char>(length != 0 ? group | 0x80 : group);
  } while (length != 0);
  out.append(text);
}

bool RecordOrder::accept(char type) {
  switch (part_) {
    case Part::envelope:
      switch (type) {
        case 'T':
        case 'F':
        case 'A':
        case 'V': return true;
        case 'S':
          if (sender_) return false;
          return sender_ = true;
        case 'R': return sender_;
        case 'M':
          part_ = Part::content;
          return sender_;
        default: return false;
      }
    case Part::content:
      if (type == 'X') part_ = Part::extracted;
      return type == 'N' || type == 'L' || type == 'X';
    case Part::extracted:
      if (type == 'E') part_ = Part::done;
      return type == 'A' || type == 'R' || type == 'E';
    case Part::done: return false;
  }
  return false;
}

}  // namespace millrace::submit
