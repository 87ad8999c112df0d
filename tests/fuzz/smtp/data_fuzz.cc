// Any content in any pieces: the same output as in one piece, canonical, and nothing in it that a
// dot-stuffing sender could mistake.
#include <cstdint>
#include <string_view>

#include "core/base/assert.h"
#include "core/smtp/data_decoder.h"

using namespace millrace::smtp;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1) return 0;
  const std::size_t step = (data[0] >> 2) + 1u;
  const auto form = data[0] & 1 ? DataDecoder::Form::data : DataDecoder::Form::chunks;
  const auto ends = data[0] & 2 ? DataDecoder::LineEnds::strict : DataDecoder::LineEnds::lenient;
  const std::string_view in(reinterpret_cast<const char*>(data) + 1, size - 1);
  const auto run = [&](std::size_t piece, std::string& out) {
    DataDecoder decoder(form, ends, ' ');
    std::size_t at = 0;
    while (at < in.size()) {
      const auto decoded = decoder.decode(in.substr(at, piece), out);
      at += decoded.consumed;
      if (decoded.end) return at;
    }
    decoder.finish(out);
    return at;
  };
  std::string whole, pieces;
  MR_ASSERT(run(in.size() + 1, whole) == run(step, pieces));
  MR_ASSERT(whole == pieces);
  for (std::size_t i = 0; i < whole.size(); ++i) {
    if (whole[i] == '\n') MR_ASSERT(i > 0 && whole[i - 1] == '\r');
    if (whole[i] == '\r') MR_ASSERT(i + 1 < whole.size() && whole[i + 1] == '\n');
  }
  return 0;
}
