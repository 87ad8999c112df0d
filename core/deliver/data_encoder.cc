#include "core/deliver/data_encoder.h"

#include <algorithm>

namespace millrace::deliver {

DataEncoder::DataEncoder(std::size_t line_limit)
    // A limit that leaves no room for text after the folding space would never end.
    : line_limit_(line_limit == 0 ? 0 : std::max<std::size_t>(line_limit, 12)) {}

void DataEncoder::put(std::string_view text, std::string& out) {
  while (!text.empty()) {
    if (column_ == 0 && text[0] == '.') out += '.';
    std::size_t take = text.size();
    if (line_limit_ > 0) {
      if (column_ == line_limit_) {
        out += "\r\n ";
        column_ = 1;
      }
      take = std::min(take, line_limit_ - column_);
    }
    out.append(text.substr(0, take));
    column_ += take;
    text.remove_prefix(take);
  }
}

void DataEncoder::encode(std::string_view text, std::string& out) {
  out.reserve(out.size() + text.size() + text.size() / 64 + 16);
  while (!text.empty()) {
    if (pending_cr_) {
      pending_cr_ = false;
      if (text[0] == '\n') {
        out += "\r\n";
        column_ = 0;
        text.remove_prefix(1);
        continue;
      }
      put(" ", out);
    }
    const std::size_t lf = text.find('\n');
    std::string_view line = text.substr(0, lf);
    const std::size_t cr = line.find('\r');
    if (cr != line.npos) {
      // Nearly always the CR of a line end; else a stray one, which the next turn makes a space.
      put(line.substr(0, cr), out);
      pending_cr_ = true;
      text.remove_prefix(cr + 1);
      continue;
    }
    put(line, out);
    text.remove_prefix(line.size());
    if (lf != text.npos && !text.empty()) {
      put(" ", out);
      text.remove_prefix(1);
    }
  }
}

void DataEncoder::finish(std::string& out) {
  if (pending_cr_) put(" ", out);
  pending_cr_ = false;
  if (column_ > 0) out += "\r\n";
  out += ".\r\n";
  column_ = 0;
}

}  // namespace millrace::deliver
