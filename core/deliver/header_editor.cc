#include "core/deliver/header_editor.h"

#include <algorithm>
#include <utility>

namespace millrace::deliver {

Result<void> HeaderEditor::end_field(std::string& out) {
  too_long_ = false;
  if (field_.empty()) return {};
  std::string field = std::exchange(field_, {});
  if (auto done = edit_(field); !done) return done;
  out += field;
  return {};
}

Result<void> HeaderEditor::feed(std::string_view text, std::string& out) {
  while (!text.empty()) {
    // A line that does not begin with white space ends the field before; one without text ends them all.
    if (!body_ && line_start_ && text[0] != ' ' && text[0] != '\t') {
      if (auto done = end_field(out); !done) return done;
      body_ = text[0] == '\r' || text[0] == '\n';
    }
    if (body_) {
      out += text;
      return {};
    }
    const std::size_t newline = text.find('\n');
    line_start_ = newline != text.npos;
    const std::string_view line = text.substr(0, line_start_ ? newline + 1 : text.npos);
    (too_long_ ? out : field_) += line;
    text.remove_prefix(line.size());
    if (field_.size() > limit_) {
      out += std::exchange(field_, {});
      too_long_ = true;
    }
  }
  return {};
}

Result<void> HeaderEditor::finish(std::string& out) { return end_field(out); }

}  // namespace millrace::deliver
