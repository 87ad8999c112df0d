#include "core/checks/mime_walker.h"

#include <algorithm>
#include <utility>

#include "core/base/strings.h"

namespace millrace::checks {
namespace {

// Comments and white space in front of a token (RFC 822 section 3.1.4); nesting is counted, not recursed.
void skip_blank(std::string_view& text) {
  int depth = 0;
  while (!text.empty()) {
    const char c = text.front();
    if (c == '(') {
      ++depth;
    } else if (depth > 0 && c == ')') {
      --depth;
    } else if (depth > 0 && c == '\\' && text.size() > 1) {
      text.remove_prefix(1);
    } else if (depth == 0 && !is_space(c)) {
      return;
    }
    text.remove_prefix(1);
  }
}

// A token or quoted string; specials other than those of a token end it.
std::string take_value(std::string_view& text) {
  skip_blank(text);
  std::string out;
  if (!text.empty() && text.front() == '"') {
    text.remove_prefix(1);
    while (!text.empty() && text.front() != '"') {
      if (text.front() == '\\' && text.size() > 1) text.remove_prefix(1);
      if (text.front() != '\n') out += text.front();
      text.remove_prefix(1);
    }
    if (!text.empty()) text.remove_prefix(1);
    return out;
  }
  while (!text.empty() && !is_space(text.front()) &&
         std::string_view("()<>@,;:\\\"/[]=").find(text.front()) == std::string_view::npos) {
    out += text.front();
    text.remove_prefix(1);
  }
  return out;
}

bool take_special(std::string_view& text, char special) {
  skip_blank(text);
  if (text.empty() || text.front() != special) return false;
  text.remove_prefix(1);
  return true;
}

// These are judged by mime_header_checks wherever they stand (header_checks(5)).
bool is_mime_header(std::string_view name) {
  static constexpr std::string_view kNames[] = {"MIME-Version",        "Content-Type",
                                                "Content-Disposition", "Content-Transfer-Encoding",
                                                "Content-Description", "Content-ID"};
  for (const std::string_view known : kNames) {
    if (iequals(name, known)) return true;
  }
  return false;
}

}  // namespace

MimeWalker::MimeWalker(const Limits& limits, bool structure, Handler& handler)
    : limits_(limits), structure_(structure), handler_(handler) {}

MimeWalker::Type MimeWalker::parse_content_type(std::string_view value, std::size_t boundary_length) {
  Type type;
  const std::string main = take_value(value);
  if (!take_special(value, '/')) return type;
  const std::string sub = take_value(value);
  type.message = iequals(main, "message") && iequals(sub, "rfc822");
  if (!iequals(main, "multipart")) return type;
  for (;;) {
    // To the next parameter, over whatever stands before it.
    while (!value.empty() && !take_special(value, ';')) {
      if (value.empty()) break;
      if (value.front() == '"') {
        take_value(value);
      } else {
        value.remove_prefix(1);
      }
    }
    if (value.empty()) return type;
    const std::string name = take_value(value);
    if (!take_special(value, '=')) continue;
    const std::string text = take_value(value);
    if (iequals(name, "boundary") && !text.empty()) {
      type.multipart = true;
      type.boundary = text.substr(0, boundary_length);
      return type;
    }
  }
}

HeaderClass MimeWalker::header(std::string_view name, std::string_view value) {
  if (structure_ && iequals(name, "Content-Type")) type_ = parse_content_type(value, limits_.boundary_length);
  return structure_ && is_mime_header(name) ? HeaderClass::mime : HeaderClass::primary;
}

void MimeWalker::end_of_headers() { headers_ended(); }

// What follows a header section is told by its Content-Type.
void MimeWalker::headers_ended() {
  const Type type = std::exchange(type_, Type());
  enter_body();
  if (!structure_ || (!type.multipart && !type.message)) return;
  if (boundaries_.size() >= limits_.nesting) {
    too_deep_ = true;
  } else if (type.multipart) {
    boundaries_.push_back(type.boundary);
  } else {
    state_ = State::nested_headers;
  }
}

void MimeWalker::body(std::string_view bytes) {
  while (!bytes.empty()) {
    const std::size_t end = bytes.find('\n');
    const std::size_t take = end == std::string_view::npos ? bytes.size() : end + 1;
    if (end != std::string_view::npos && pending_.empty()) {
      line(bytes.substr(0, end), take, true);
    } else {
      pending_.append(bytes.substr(0, take));
      if (end != std::string_view::npos) {
        const std::string whole = std::exchange(pending_, {});
        line(std::string_view(whole).substr(0, whole.size() - 1), whole.size(), true);
      } else if (pending_.size() > limits_.line_length + 1) {
        // A CR may belong to the line end that is still to come: it stays.
        const std::string piece = pending_.substr(0, limits_.line_length);
        pending_.erase(0, piece.size());
        line(piece, piece.size(), false);
      }
    }
    bytes.remove_prefix(take);
  }
}

void MimeWalker::finish() {
  if (!pending_.empty()) {
    const std::string rest = std::exchange(pending_, {});
    line(rest, rest.size(), true);
  }
  flush_header();
}

void MimeWalker::line(std::string_view text, std::uint64_t length, bool whole) {
  // Long lines are cut here too when they came in one piece, so that any split gives the same events.
  while (text.size() > limits_.line_length + 1) {
    line(text.substr(0, limits_.line_length), limits_.line_length, false);
    text.remove_prefix(limits_.line_length);
    length -= limits_.line_length;
  }
  if (whole && !text.empty() && text.back() == '\r') text.remove_suffix(1);
  const bool continues = std::exchange(in_long_line_, !whole);
  if (state_ != State::body) {
    if (continues) {
      header_.append(text.substr(0, limits_.header_size - std::min(limits_.header_size, header_.size())));
      header_length_ += length;
      offset_ += length;
      return;
    }
    header_line(text, length);
    return;
  }
  if (!continues && structure_ && text.starts_with("--") && boundary_line(text)) {
    handler_.body_line(text, offset_, length, false);
  } else if (!text.empty()) {
    handler_.body_line(text, offset_, length, first_);
    first_ = false;
  }
  offset_ += length;
}

void MimeWalker::header_line(std::string_view text, std::uint64_t length) {
  const bool folded = !text.empty() && (text[0] == ' ' || text[0] == '\t') && !header_.empty();
  if (folded) {
    const std::size_t room = limits_.header_size - std::min(limits_.header_size, header_.size() + 1);
    if (room > 0) header_.append("\n").append(text.substr(0, room));
    header_length_ += length;
    offset_ += length;
    return;
  }
  flush_header();
  const std::size_t colon = text.find(':');
  const bool is_header = colon != std::string_view::npos && colon > 0 &&
                         trim(text.substr(0, colon)).find_first_of(" \t") == std::string_view::npos &&
                         !is_space(text[0]) && !(structure_ && text.starts_with("--") && boundary_line(text));
  if (is_header) {
    header_.assign(text.substr(0, limits_.header_size));
    header_offset_ = offset_;
    header_length_ = length;
    offset_ += length;
  } else if (text.empty()) {
    headers_ended();
    offset_ += length;
  } else {
    // A boundary (which set the state) or junk: the header section ends without its empty line.
    const bool was_boundary = text.starts_with("--") && boundary_line(text);
    if (!was_boundary) headers_ended();
    handler_.body_line(text, offset_, length, false);
    offset_ += length;
  }
}

void MimeWalker::flush_header() {
  if (header_.empty()) return;
  const std::string text = std::exchange(header_, {});
  const std::size_t colon = text.find(':');
  const std::string_view name = trim(std::string_view(text).substr(0, colon));
  const std::string_view value = std::string_view(text).substr(colon + 1);
  if (iequals(name, "Content-Type")) type_ = parse_content_type(value, limits_.boundary_length);
  const HeaderClass header_class =
      state_ == State::part_headers || is_mime_header(name) ? HeaderClass::mime : HeaderClass::nested;
  handler_.part_header(header_class, text, header_offset_, header_length_);
}

// Is this "--boundary" of an open multipart?  The innermost that fits counts; those inside it are closed.
bool MimeWalker::boundary_line(std::string_view text) {
  text.remove_prefix(2);
  for (std::size_t i = boundaries_.size(); i-- > 0;) {
    if (!text.starts_with(boundaries_[i])) continue;
    const bool last = text.substr(boundaries_[i].size()).starts_with("--");
    flush_header();
    boundaries_.resize(last ? i : i + 1);
    type_ = Type();
    enter_body();
    if (!last) state_ = State::part_headers;
    return true;
  }
  return false;
}

}  // namespace millrace::checks
