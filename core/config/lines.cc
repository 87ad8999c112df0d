#include "core/config/lines.h"

#include <algorithm>

#include "core/base/strings.h"

namespace millrace::config {

std::vector<LogicalLine> logical_lines(std::string_view text) {
  std::vector<LogicalLine> out;
  int number = 0;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    ++number;
    const std::string_view content = trim(line);
    if (content.empty() || content[0] == '#') continue;
    if (!is_space(line[0])) {
      out.push_back({number, std::string(line), false});
    } else if (out.empty()) {
      out.push_back({number, std::string(line), true});
    } else {
      out.back().text += line;
    }
  }
  return out;
}

}  // namespace millrace::config
