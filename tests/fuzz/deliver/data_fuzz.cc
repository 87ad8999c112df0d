// Whatever is sent after DATA: it ends once, at its end; no stray CR or LF; canonical text comes back.
#include <cstdint>
#include <string>
#include <string_view>

#include "core/base/assert.h"
#include "core/deliver/data_encoder.h"

using millrace::deliver::DataEncoder;

namespace {
std::string encode(std::string_view text, std::size_t limit, std::size_t step) {
  DataEncoder encoder(limit);
  std::string out;
  for (std::size_t at = 0; at < text.size(); at += step) encoder.encode(text.substr(at, step), out);
  encoder.finish(out);
  return out;
}

// What a strict server takes the text to be; `end` receives where it saw the end.
std::string decode(std::string_view wire, std::size_t& end) {
  std::string out;
  for (std::size_t at = 0;;) {
    const std::size_t crlf = wire.find("\r\n", at);
    MR_ASSERT(crlf != wire.npos);
    std::string_view line = wire.substr(at, crlf - at);
    at = crlf + 2;
    if (line == ".") {
      end = at;
      return out;
    }
    if (!line.empty() && line[0] == '.') line.remove_prefix(1);
    out.append(line).append("\r\n");
  }
}

// The promise about stray bytes, said another way than the encoder does it.
std::string normal(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\r' && i + 1 < text.size() && text[i + 1] == '\n') {
      out += "\r\n";
      ++i;
    } else {
      out += text[i] == '\r' || text[i] == '\n' ? ' ' : text[i];
    }
  }
  if (!out.empty() && !std::string_view(out).ends_with("\r\n")) out += "\r\n";
  return out;
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const std::size_t step = data[0] % 16 + 1, limit = data[1] % 40 + 12;
  const std::string_view text(reinterpret_cast<const char*>(data) + 2, size - 2);
  std::size_t end = 0;
  const std::string wire = encode(text, 0, step);
  MR_ASSERT(decode(wire, end) == normal(text) && end == wire.size());

  const std::string folded = encode(text, limit, step);
  MR_ASSERT(folded == encode(text, limit, text.size() + 1));
  (void)decode(folded, end);
  MR_ASSERT(end == folded.size());
  std::size_t column = 0;
  for (std::size_t i = 0; i < folded.size(); ++i) {
    if (folded[i] == '\r') MR_ASSERT(i + 1 < folded.size() && folded[i + 1] == '\n');
    if (folded[i] == '\n') {
      MR_ASSERT(i > 0 && folded[i - 1] == '\r');
      column = 0;
    } else if (folded[i] != '\r') {
      MR_ASSERT(++column <= limit + 1);   // and a stuffed dot
    }
  }
  return 0;
}
