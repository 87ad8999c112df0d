#include "core/checks/rewriter.h"

#include "core/base/strings.h"

namespace millrace::checks {
namespace {

using Kind = Decision::Kind;

constexpr std::size_t kSoftBreak = 72;   // octets of a line of quoted-printable text before its soft line break

void append_hex(unsigned char byte, std::string& out) {
  static constexpr char kDigits[] = "0123456789ABCDEF";
  out += '=';
  out += kDigits[byte >> 4];
  out += kDigits[byte & 15];
}

Limits limits_of(const RewriterOptions& options) { return options.rules != nullptr ? options.rules->limits : Limits{}; }

// Structure matters to the conversion, and to tables of their own for parts.
bool needs_structure(const RewriterOptions& options) {
  return options.to_seven_bit ||
         (options.rules != nullptr && (!options.rules->mime_header.empty() || !options.rules->nested_header.empty()));
}

}  // namespace

Rewriter::Rewriter(RewriterOptions options)
    : options_(std::move(options)),
      walker_(limits_of(options_), needs_structure(options_), *this, MimeWalker::Start::headers, kNestingFault) {}

Result<void> Rewriter::outcome() const {
  if (error_) return tl::unexpected(*error_);
  if (options_.to_seven_bit && (walker_.faults() & kNestingFault) != 0) {
    return fail(Errc::protocol, std::string(mime_fault_text(kNestingFault)));
  }
  return {};
}

Result<void> Rewriter::add(std::string_view text, std::string& out) {
  out_ = &out;
  walker_.body(text);
  return outcome();
}

Result<void> Rewriter::finish(std::string& out) {
  out_ = &out;
  walker_.finish();
  if (in_line_ || !quoted_.empty()) put_line(std::exchange(quoted_, {}));
  return outcome();
}

std::optional<std::string> Rewriter::judged(const map::Maps& maps, bool is_header, std::string_view line) {
  std::string same(line);
  if (error_ || maps.empty() || line.empty()) return same;
  const map::Lookup answer = maps.find(line);
  if (!answer) {
    error_ = answer.error();
    return same;
  }
  if (!answer->has_value()) return same;
  const Decision decision = is_header ? parse_header_action(**answer) : parse_action(**answer);
  const auto note = [&](std::string_view action, std::string_view text) {
    if (options_.note) options_.note(action, is_header, line, text);
  };
  switch (decision.kind) {
    case Kind::dunno: return same;
    case Kind::warn: note("warning", decision.text); return same;
    case Kind::info: note("info", decision.text); return same;
    case Kind::ignore: return std::nullopt;
    case Kind::strip: note("strip", decision.text); return std::nullopt;
    case Kind::replace: note("replace", decision.text); return decision.text;
    case Kind::prepend:
      note("prepend", decision.text);
      put_line(decision.text);
      return same;
    case Kind::bad: note("", decision.complaint("%s")); return same;
    default: note("", "unsupported command in %s map: " + **answer); return same;   // it cannot be obeyed on the way out
  }
}

void Rewriter::put_header(std::string_view text) {
  std::string wire;
  for (const char c : text) wire.append(c == '\n' ? "\r\n" : std::string_view(&c, 1));
  put_line(wire);
}

void Rewriter::part_header(HeaderClass header_class, std::string_view text, std::uint64_t, std::uint64_t) {
  part_bytes_ = 0;
  // What it says is no longer true after the conversion: headers_over() writes another one.
  if (options_.to_seven_bit && walker_.part().domain != Part::Domain::seven_bit &&
      istarts_with(text, "Content-Transfer-Encoding")) {
    return;
  }
  static const map::Maps kNone;
  const map::Maps* maps = &kNone;
  if (options_.rules != nullptr) {
    maps = header_class == HeaderClass::primary ? &options_.rules->header
           : header_class == HeaderClass::mime  ? &options_.rules->mime_header
                                                : &options_.rules->nested_header;
  }
  if (const auto kept = judged(*maps, true, text)) put_header(*kept);
}

void Rewriter::headers_over(HeaderClass, bool by_empty_line) {
  const Part& part = walker_.part();
  if (options_.to_seven_bit && part.domain != Part::Domain::seven_bit) {
    const bool composite = part.type == Part::Type::message || part.type == Part::Type::multipart;
    put_line(composite ? "Content-Transfer-Encoding: 7bit" : "Content-Transfer-Encoding: quoted-printable");
  }
  if (by_empty_line) put_line("");
}

// The tables see the lines as they go out, as with Postfix.
void Rewriter::body_line(std::string_view line, std::uint64_t, std::uint64_t, bool first, bool ends) {
  if (first) part_bytes_ = 0;
  if (options_.to_seven_bit && walker_.part().domain != Part::Domain::seven_bit) {
    quote(line, ends);
  } else {
    put_body(line, ends);
  }
}

void Rewriter::put_body(std::string_view line, bool ends) {
  if (options_.rules != nullptr && part_bytes_ < options_.rules->body_size_limit && !options_.rules->body.empty()) {
    part_bytes_ += line.size() + 1;
    const auto kept = judged(options_.rules->body, false, line);
    if (!kept) return;
    out_->append(*kept);
  } else {
    out_->append(line);
  }
  in_line_ = !ends;
  if (ends) out_->append("\r\n");
}

void Rewriter::quote(std::string_view line, bool ends) {
  for (const char c : line) {
    if (quoted_.size() > kSoftBreak) {
      quoted_ += '=';
      put_body(std::exchange(quoted_, {}), true);
    }
    const auto byte = static_cast<unsigned char>(c);
    if ((byte < 32 && c != '\t') || c == '=' || byte > 126) {
      append_hex(byte, quoted_);
    } else {
      quoted_ += c;
    }
  }
  if (!ends) return;
  if (!quoted_.empty() && (quoted_.back() == ' ' || quoted_.back() == '\t')) {
    const char last = quoted_.back();
    quoted_.pop_back();
    append_hex(static_cast<unsigned char>(last), quoted_);
  }
  put_body(std::exchange(quoted_, {}), true);
}

}  // namespace millrace::checks
