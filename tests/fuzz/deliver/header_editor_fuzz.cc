// A message in pieces: the first byte is their size; fields and text must not depend on it.
#include <cstdint>

#include <vector>

#include "core/base/assert.h"
#include "core/deliver/header_editor.h"

using namespace millrace;

namespace {
struct Outcome {
  std::vector<std::string> fields;
  std::string text;
  bool operator==(const Outcome&) const = default;
};

Outcome run(std::string_view text, std::size_t step) {
  Outcome out;
  deliver::HeaderEditor editor([&](std::string& field) -> Result<void> {
    out.fields.push_back(field);
    return {};
  }, std::size_t{1} << 20);
  for (std::size_t at = 0; at < text.size(); at += step) MR_ASSERT(editor.feed(text.substr(at, step), out.text).has_value());
  MR_ASSERT(editor.finish(out.text).has_value());
  return out;
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const Outcome whole = run(text, text.size() + 1);
  MR_ASSERT(whole.text == text);
  MR_ASSERT(run(text, data[0] % 16 + 1) == whole);
  return 0;
}
