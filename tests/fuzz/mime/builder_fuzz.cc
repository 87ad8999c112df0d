// Header section and body from any text in any pieces: same message whole and in pieces, bounded.
#include <cstdint>
#include <string_view>

#include "core/base/assert.h"
#include "core/mime/builder.h"
#include "core/mime/cleanup.h"

using namespace millrace;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::size_t step = data[0] % 16 + 1;
  // The builder is promised canonical text.
  std::string text;
  for (std::size_t i = 1; i < size; ++i) {
    const char c = static_cast<char>(data[i]);
    if (c == '\n') text += '\r';
    if (c != '\r') text += c;
  }
  mime::BuilderLimits limits;
  limits.line_length = 32;
  limits.header_size = 64;
  limits.header_section = 512;
  const auto build = [&](std::size_t piece) -> std::string {
    mime::MessageBuilder builder(limits, mime::Body());
    for (std::size_t at = 0; at < text.size(); at += piece) {
      if (!builder.add(std::string_view(text).substr(at, piece))) return "error";
    }
    if (!builder.finish()) return "error";
    mime::Message message = builder.take();
    for (const mime::Header& header : message.headers) MR_ASSERT(!header.name().empty());
    std::vector<std::string> log;
    mime::HeaderPolicy policy;
    policy.drop = {"bcc"};
    const std::string before = message.header_text() + message.body.memory();
    mime::apply_header_policy(message, policy, "ID", "", 0, log);
    return before;
  };
  MR_ASSERT(build(step) == build(text.size() + 1));
  return 0;
}
