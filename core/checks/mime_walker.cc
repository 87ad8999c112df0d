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

bool has_high_bit(std::string_view text) {
  return std::any_of(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0x80) != 0; });
}

struct Encoding {
  std::string_view name;
  Part::Domain domain;
  bool identity;
};
constexpr Encoding kEncodings[] = {{"7bit", Part::Domain::seven_bit, true},
                                   {"8bit", Part::Domain::eight_bit, true},
                                   {"binary", Part::Domain::binary, true},
                                   {"base64", Part::Domain::seven_bit, false},
                                   {"quoted-printable", Part::Domain::seven_bit, false}};

constexpr Part kPlainText{};
constexpr Part kMessagePart{Part::Type::message, Part::Message::whole};
constexpr Part kOutsideParts{Part::Type::other};

// Length of the name when `line` begins a header field: printable ASCII, blanks before the colon are let pass; else 0.
std::size_t header_name_length(std::string_view line) {
  std::size_t end = 0;
  while (end < line.size() && line[end] > ' ' && line[end] < 127 && line[end] != ':') ++end;
  const std::size_t colon = line.find_first_not_of(" \t", end);
  return colon != std::string_view::npos && line[colon] == ':' ? end : 0;
}

}  // namespace

std::string_view mime_fault_text(MimeFault fault) {
  switch (fault) {
    case kNestingFault: return "MIME nesting exceeds safety limit";
    case kEightBitHeaderFault: return "improper use of 8-bit data in message header";
    case kEightBitBodyFault: return "improper use of 8-bit data in message body";
    case kEncodingDomainFault: break;
  }
  return "invalid message/* or multipart/* encoding domain";
}

MimeWalker::MimeWalker(const Limits& limits, bool structure, Handler& handler, Start start, unsigned faults)
    : limits_(limits),
      structure_(structure),
      handler_(handler),
      state_(start == Start::headers ? State::primary_headers : State::body),
      wanted_(structure ? faults : 0) {}

void MimeWalker::report(MimeFault fault, std::string_view text) {
  if (!looks_for(fault)) return;
  found_ |= fault;
  handler_.fault(fault, text);
}

// A multipart is opened by its header, not at the end of the section: a second Content-Type cannot hide the first.
// All boundaries of one header count: which of them a mail program uses cannot be known.
void MimeWalker::content_type(std::string_view value, std::string_view text) {
  const std::string main = take_value(value);
  const std::string sub = take_special(value, '/') ? take_value(value) : std::string();
  part_.message = Part::Message::none;
  if (main.empty()) return;
  if (iequals(main, "text")) {
    part_.type = Part::Type::text;
  } else if (iequals(main, "message")) {
    part_.type = Part::Type::message;
    part_.message = iequals(sub, "rfc822")                                       ? Part::Message::whole
                    : iequals(sub, "global")                                     ? Part::Message::global   // RFC 6532
                    : iequals(sub, "partial") || iequals(sub, "external-body")   ? Part::Message::fragment
                                                                                 : Part::Message::other;
  } else if (!iequals(main, "multipart")) {
    part_.type = Part::Type::other;
  } else {
    part_.type = Part::Type::multipart;
    for (;;) {
      // To the next parameter, over whatever stands before it.
      while (!value.empty() && !take_special(value, ';')) {
        if (value.empty()) break;
        value.remove_prefix(1);
      }
      if (value.empty()) return;
      const std::string name = take_value(value);
      if (!take_special(value, '=')) continue;
      const std::string boundary = take_value(value);
      if (!iequals(name, "boundary") || boundary.empty()) continue;
      if (open_.size() > limits_.nesting + 1) {   // as Postfix counts
        report(kNestingFault, text);
      } else {
        open_.push_back({boundary.substr(0, limits_.boundary_length), iequals(sub, "digest")});
      }
    }
  }
}

void MimeWalker::content_encoding(std::string_view value) {
  const std::string name = take_value(value);
  for (const Encoding& known : kEncodings) {
    if (!iequals(known.name, name)) continue;
    part_.domain = known.domain;
    part_.identity = known.identity;
    part_.encoding = known.name;
  }
}

void MimeWalker::structural(std::string_view name, std::string_view value, std::string_view text) {
  if (!structure_) return;
  if (iequals(name, "Content-Type")) content_type(value, text);
  if (iequals(name, "Content-Transfer-Encoding")) content_encoding(value);
  if (looks_for(kEightBitHeaderFault) && has_high_bit(text)) report(kEightBitHeaderFault, text);
}

HeaderClass MimeWalker::header(std::string_view text, std::string_view name, std::string_view value) {
  structural(name, value, text);
  return is_mime_header(name) ? HeaderClass::mime : HeaderClass::primary;
}

void MimeWalker::end_of_headers() { headers_ended(true); }

HeaderClass MimeWalker::section_class() const {
  return state_ == State::part_headers ? HeaderClass::mime
         : state_ == State::nested_headers ? HeaderClass::nested
                                           : HeaderClass::primary;
}

void MimeWalker::headers_ended(bool by_empty_line) {
  handler_.headers_over(section_class(), by_empty_line);
  const bool coded = !part_.identity;
  if (structure_ && coded && (part_.type == Part::Type::multipart || part_.message == Part::Message::whole)) {
    report(kEncodingDomainFault, part_.encoding);
  }
  if (structure_ && part_.message == Part::Message::fragment && part_.domain != Part::Domain::seven_bit) {
    report(kEncodingDomainFault, part_.encoding);
  }
  if (structure_ && by_empty_line && part_.type == Part::Type::message &&
      (part_.message == Part::Message::whole || part_.message == Part::Message::global)) {
    enter(State::nested_headers, kPlainText);
  } else if (structure_ && part_.type == Part::Type::multipart) {
    enter(State::body, kOutsideParts);
  } else {
    enter(State::body, part_);
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
      } else {
        // A CR may belong to the line end that is still to come: it stays.
        std::size_t given = 0;
        for (; pending_.size() - given > limits_.line_length + 1; given += limits_.line_length)
          line(std::string_view(pending_).substr(given, limits_.line_length), limits_.line_length, false);
        pending_.erase(0, given);
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
  if (state_ != State::body) handler_.headers_over(section_class(), false);
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
      if (header_.size() < limits_.header_size) header_ += text;
      header_length_ += length;
      offset_ += length;
      return;
    }
    header_line(text, length);
    return;
  }
  judge_body(text);
  const bool boundary = !continues && structure_ && text.starts_with("--") && boundary_line(text);
  handler_.body_line(text, offset_, length, boundary ? false : first_, whole);
  if (!boundary && !text.empty()) first_ = false;
  offset_ += length;
}

void MimeWalker::judge_body(std::string_view text) {
  const bool is_plain = part_.identity && part_.domain == Part::Domain::seven_bit;
  if (is_plain && looks_for(kEightBitBodyFault) && has_high_bit(text)) report(kEightBitBodyFault, text);
}

void MimeWalker::header_line(std::string_view text, std::uint64_t length) {
  const bool folded = !text.empty() && (text[0] == ' ' || text[0] == '\t') && !header_.empty();
  if (folded) {
    // Whole lines, as long as the limit is not reached before them: as Postfix counts.
    if (header_.size() < limits_.header_size) header_.append("\n").append(text);
    header_length_ += length;
    offset_ += length;
    return;
  }
  flush_header();
  // A line that can be a header is one, even if it looks like a boundary ("--b1: x"): Postfix's order.
  if (header_name_length(text) > 0) {
    header_ = text;
    header_offset_ = offset_;
    header_length_ = length;
  } else if (text.empty()) {
    headers_ended(true);
  } else {
    // A boundary, or junk: the section ends without its empty line.
    headers_ended(false);
    judge_body(text);
    if (structure_ && text.starts_with("--")) boundary_line(text);
    handler_.body_line(text, offset_, length, false, !in_long_line_);
  }
  offset_ += length;
}

void MimeWalker::flush_header() {
  if (header_.empty()) return;
  const std::string text = std::exchange(header_, {});
  const std::size_t colon = text.find(':');
  const std::string_view name = trim(std::string_view(text).substr(0, colon));
  structural(name, std::string_view(text).substr(colon + 1), text);
  handler_.part_header(is_mime_header(name) ? HeaderClass::mime : section_class(), text, header_offset_, header_length_);
}

// Is this "--boundary" of an open multipart?  The innermost that fits counts; those inside it are closed.
bool MimeWalker::boundary_line(std::string_view text) {
  text.remove_prefix(2);
  for (std::size_t i = open_.size(); i-- > 0;) {
    const Multipart& multipart = open_[i];
    if (!text.starts_with(multipart.boundary)) continue;
    const bool last = text.substr(multipart.boundary.size()).starts_with("--");
    handler_.boundary(i, last, offset_);
    if (last) {
      enter(State::body, kOutsideParts);
    } else {
      enter(State::part_headers, multipart.digest ? kMessagePart : kPlainText);
    }
    open_.resize(last ? i : i + 1);
    return true;
  }
  return false;
}

}  // namespace millrace::checks
