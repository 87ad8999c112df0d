// Any bytes as Content-Type and body, in two splits: the same events, offsets inside the body.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "core/checks/action.h"
#include "core/checks/mime_walker.h"

using namespace millrace::checks;

namespace {

class Recorder : public MimeWalker::Handler {
 public:
  explicit Recorder(std::uint64_t size) : size_(size) {}
  void part_header(HeaderClass header_class, std::string_view text, std::uint64_t offset, std::uint64_t length) override {
    note(static_cast<char>('0' + static_cast<int>(header_class)), text, offset, length);
  }
  void body_line(std::string_view line, std::uint64_t offset, std::uint64_t length, bool, bool) override {
    note('b', line, offset, length);
  }
  std::string events;

 private:
  void note(char kind, std::string_view text, std::uint64_t offset, std::uint64_t length) {
    if (offset + length > size_) std::abort();
    events += kind;
    events.append(text).append("|").append(std::to_string(offset));
  }
  std::uint64_t size_;
};

std::string walk(std::string_view type, std::string_view body, std::size_t step) {
  Limits limits;
  limits.line_length = 64;
  limits.header_size = 200;
  limits.nesting = 5;
  Recorder recorder(body.size());
  MimeWalker walker(limits, true, recorder);
  walker.header("Content-Type", "Content-Type", type);
  walker.end_of_headers();
  for (std::size_t at = 0; at < body.size(); at += step) walker.body(body.substr(at, step));
  walker.finish();
  return recorder.events;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view all(reinterpret_cast<const char*>(data), size);
  const std::size_t cut = std::min(all.find('\n'), all.size());
  const std::string_view body = all.substr(cut);
  if (walk(all.substr(0, cut), body, body.size() + 1) != walk(all.substr(0, cut), body, 3)) std::abort();
  parse_action(all);
  return 0;
}
