// A maildrop file: whatever pieces it comes in, the answer is the same, and the content is canonical.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "core/submit/maildrop.h"

using namespace millrace;

namespace {

struct Outcome {
  bool good = false;
  std::string content;
  std::size_t recipients = 0;
};

Outcome parse(std::string_view bytes, std::size_t step) {
  Outcome out;
  submit::MaildropParser parser(100, [&](std::string_view piece) -> Result<void> {
    out.content += piece;
    return {};
  });
  for (std::size_t at = 0; at < bytes.size(); at += step) {
    if (!parser.add(bytes.substr(at, step))) return out;
  }
  out.good = parser.finish().has_value();
  out.recipients = parser.submission().recipients.size();
  for (const auto& one : parser.submission().recipients) {
    if (one.address.find('\n') != one.address.npos) std::abort();
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const Outcome whole = parse(bytes, size + 1), pieces = parse(bytes, 3);
  if (whole.good != pieces.good || (whole.good && whole.content != pieces.content)) std::abort();
  if (whole.recipients > 100) std::abort();
  for (std::size_t at = whole.content.find_first_of("\r\n"); at != whole.content.npos; at = whole.content.find_first_of("\r\n", at + 2)) {
    if (whole.content.compare(at, 2, "\r\n") != 0) std::abort();
  }
  return 0;
}
