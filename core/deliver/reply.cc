#include "core/deliver/reply.h"

#include <algorithm>

#include "core/base/strings.h"

namespace millrace::deliver {

std::string_view Reply::first_line() const {
  const std::string_view line = std::string_view(text).substr(0, text.find('\n'));
  return line.size() > 4 ? line.substr(4) : std::string_view();
}

std::string Reply::flat() const {
  std::string out = text;
  std::replace(out.begin(), out.end(), '\n', ' ');
  return out;
}

std::string_view leading_dsn(std::string_view text) {
  // class "." subject "." detail, one to three digits each but the class (RFC 3463 section 2).
  if (text.size() < 5 || (text[0] != '2' && text[0] != '4' && text[0] != '5') || text[1] != '.') return {};
  std::size_t at = 2;
  for (int part = 0; part < 2; ++part) {
    const std::size_t start = at;
    while (at < text.size() && is_digit(text[at]) && at - start < 3) ++at;
    if (at == start) return {};
    if (part == 0) {
      if (at >= text.size() || text[at] != '.') return {};
      ++at;
    }
  }
  if (at < text.size() && text[at] != ' ' && text[at] != '\t') return {};
  return text.substr(0, at);
}

ReplyParser::Status ReplyParser::feed(std::string_view input, std::size_t& consumed) {
  consumed = 0;
  if (invalid_) return Status::invalid;
  while (consumed < input.size()) {
    const std::string_view rest = input.substr(consumed);
    const std::size_t lf = rest.find('\n');
    const std::string_view piece = rest.substr(0, lf);
    if (line_.size() < kMaxLine) line_.append(piece.substr(0, kMaxLine - line_.size()));
    const std::size_t used = lf == rest.npos ? piece.size() : piece.size() + 1;
    consumed += used;
    bytes_ += used;
    if (bytes_ > kMaxBytes) {
      invalid_ = true;
      return Status::invalid;
    }
    if (lf == rest.npos) break;
    const Status status = end_line();
    if (status != Status::need_more) return status;
  }
  return Status::need_more;
}

ReplyParser::Status ReplyParser::end_line() {
  if (!line_.empty() && line_.back() == '\r') line_.pop_back();
  const bool numbered = line_.size() >= 3 && is_digit(line_[0]) && is_digit(line_[1]) && is_digit(line_[2]) &&
                        (line_.size() == 3 || line_[3] == ' ' || line_[3] == '-');
  const int code = numbered ? (line_[0] - '0') * 100 + (line_[1] - '0') * 10 + (line_[2] - '0') : 0;
  if (code < 200 || code > 599) {
    invalid_ = true;
    line_ = printable(line_);
    return Status::invalid;
  }
  const bool last = line_.size() == 3 || line_[3] == ' ';
  if (reply_.text.size() + line_.size() < kMaxText) {
    if (!reply_.text.empty()) reply_.text += '\n';
    reply_.text += printable(line_);
  }
  if (last) {
    // The code of the last line counts, as with Postfix; the lines of a sane server agree.
    reply_.code = code;
    std::string_view dsn = leading_dsn(line_.size() > 4 ? std::string_view(line_).substr(4) : "");
    // An enhanced code of another class than the code is a mistake of the server.
    if (!dsn.empty() && dsn[0] == line_[0]) {
      reply_.dsn = dsn;
      reply_.has_dsn = true;
    } else {
      reply_.dsn = std::string(1, line_[0]) + ".0.0";
    }
  }
  line_.clear();
  return last ? Status::complete : Status::need_more;
}

Reply ReplyParser::take() {
  Reply out = std::move(reply_);
  reply_ = {};
  bytes_ = 0;
  return out;
}

}  // namespace millrace::deliver
