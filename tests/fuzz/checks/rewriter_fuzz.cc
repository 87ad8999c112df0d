// Any bytes as a message on its way out, in two splits: the same text; converted once, it needs no second time.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "core/checks/rewriter.h"

using namespace millrace::checks;

namespace {

std::string rewrite(std::string_view text, std::size_t step) {
  RewriterOptions options;
  options.to_seven_bit = true;
  Rewriter rewriter(std::move(options));
  std::string out;
  for (std::size_t at = 0; at < text.size(); at += step) {
    if (!rewriter.add(text.substr(at, step), out)) return "too deep";
  }
  if (!rewriter.finish(out)) return "too deep";
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (rewrite(text, size + 1) != rewrite(text, 3)) std::abort();
  return 0;
}
