// See map_keys.h.
#include "core/tools/map_keys.h"

#include <algorithm>
#include <utility>

#include "core/base/strings.h"
#include "core/checks/mime_walker.h"
#include "core/map/text.h"

namespace millrace::tools {
namespace {

constexpr std::size_t kLongestLine = 16 << 20;
constexpr std::size_t kLargestFile = std::size_t{1} << 30;
constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

class Collector final : public checks::MimeWalker::Handler {
 public:
  Collector(const MessageKeys& which, const std::function<bool(std::string_view)>& each) : which_(which), each_(each) {}

  void part_header(checks::HeaderClass, std::string_view text, std::uint64_t, std::uint64_t) override {
    if (which_.headers) give(text);
  }
  void headers_over(checks::HeaderClass header_class, bool by_empty_line) override {
    if (!which_.body && !which_.mime && header_class == checks::HeaderClass::primary) done_ = true;
    if (!which_.body) return;
    // The empty line is body; where it is missing it counts once a line of body follows.
    if (by_empty_line) give("");
    else if (header_class == checks::HeaderClass::primary) missing_line_ = true;
  }
  void body_line(std::string_view line, std::uint64_t, std::uint64_t, bool, bool) override {
    if (std::exchange(missing_line_, false)) give("");
    if (which_.body) give(line);
  }
  void fault(checks::MimeFault fault, std::string_view) override {
    fault_ = checks::mime_fault_text(fault);
    done_ = true;
  }
  bool done() const { return done_; }
  const std::string& fault() const { return fault_; }

 private:
  void give(std::string_view key) {
    if (!done_) done_ = !each_(key);
  }
  const MessageKeys which_;
  const std::function<bool(std::string_view)>& each_;
  bool done_ = false, missing_line_ = false;
  std::string fault_;
};

}  // namespace

Result<void> message_keys(std::string_view message, const MessageKeys& which, const std::function<bool(std::string_view)>& each) {
  Collector collector(which, each);
  checks::Limits limits;
  limits.line_length = kLongestLine;
  checks::MimeWalker walker(limits, which.mime, collector, checks::MimeWalker::Start::headers);
  while (!message.empty() && !collector.done()) {
    const std::size_t end = message.find('\n');
    const std::size_t length = end == message.npos ? message.size() : end + 1;
    walker.body(message.substr(0, length));
    message.remove_prefix(length);
  }
  if (!collector.done()) walker.finish();
  if (!collector.fault().empty()) return fail(Errc::protocol, "message format error: " + collector.fault());
  return {};
}

std::string base64_encode(std::string_view bytes) {
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (; !bytes.empty(); bytes.remove_prefix(std::min<std::size_t>(bytes.size(), 3))) {
    const auto at = [&](std::size_t i) { return i < bytes.size() ? static_cast<unsigned char>(bytes[i]) : 0U; };
    const unsigned group = at(0) << 16 | at(1) << 8 | at(2);
    out += kDigits[group >> 18];
    out += kDigits[group >> 12 & 63];
    out += bytes.size() > 1 ? kDigits[group >> 6 & 63] : '=';
    out += bytes.size() > 2 ? kDigits[group & 63] : '=';
  }
  return out;
}

std::optional<std::string> base64_decode(std::string_view text) {
  if (text.size() % 4 != 0) return {};
  std::string out;
  for (; !text.empty(); text.remove_prefix(4)) {
    const std::size_t pad = text.size() > 4 ? 0 : text[3] != '=' ? 0 : text[2] != '=' ? 1 : 2;
    unsigned group = 0;
    for (std::size_t i = 0; i < 4; ++i) {
      const std::size_t digit = i < 4 - pad ? kDigits.find(text[i]) : 0;
      if (digit == kDigits.npos) return {};
      group = group << 6 | static_cast<unsigned>(digit);
    }
    for (std::size_t i = 0; i < 3 - pad; ++i) out += static_cast<char>(group >> (16 - 8 * i));
  }
  return out;
}

Result<std::string> files_content(std::string_view names) {
  std::string out;
  bool first = true;
  for (const std::string_view name : split(names, ", \t\r\n")) {
    auto text = map::read_file(std::string(name), kLargestFile);
    if (!text) return fail("open " + std::string(name), text.error());
    if (!std::exchange(first, false)) out += '\n';
    out += *text;
    if (out.size() > kLargestFile) return fail(Errc::too_large, "file too large: " + std::string(names));
  }
  if (first) return fail(Errc::protocol, "empty pathname list");
  return out;
}

}  // namespace millrace::tools
