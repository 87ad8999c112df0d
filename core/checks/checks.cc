#include "core/checks/checks.h"

namespace millrace::checks {

Inspection::Inspection(const Rules& rules, Found found, Fault fault)
    : rules_(rules),
      found_(std::move(found)),
      fault_(std::move(fault)),
      walker_(rules.limits, rules.structure, *this, MimeWalker::Start::body, rules.faults) {}

const map::Maps& Inspection::maps_of(HeaderClass header_class) const {
  switch (header_class) {
    case HeaderClass::mime: return rules_.mime_header;
    case HeaderClass::nested: return rules_.nested_header;
    case HeaderClass::primary: break;
  }
  return rules_.header;
}

void Inspection::header(std::string_view text, std::string_view name, std::string_view value) {
  const HeaderClass header_class = walker_.header(text, name, value);
  ask(maps_of(header_class), Finding{true, header_class, text, {}, std::nullopt, 0});
}

void Inspection::body(std::string_view bytes) {
  if (!done_) walker_.body(bytes);
}

void Inspection::finish() {
  if (!done_) walker_.finish();
}

void Inspection::part_header(HeaderClass header_class, std::string_view text, std::uint64_t offset,
                             std::uint64_t length) {
  part_bytes_ = 0;
  ask(maps_of(header_class), Finding{true, header_class, text, {}, offset, length});
}

void Inspection::body_line(std::string_view line, std::uint64_t offset, std::uint64_t length, bool first, bool) {
  if (first) part_bytes_ = 0;
  if (line.empty() || part_bytes_ >= rules_.body_size_limit) {
    part_bytes_ += line.empty() ? 1 : 0;
    return;
  }
  part_bytes_ += line.size() + 1;   // as Postfix counts
  ask(rules_.body, Finding{false, HeaderClass::primary, line, {}, offset, length});
}

void Inspection::ask(const map::Maps& maps, Finding finding) {
  if (done_ || maps.empty()) return;
  const map::Lookup answer = maps.find(finding.text);
  if (!answer) {
    error_ = answer.error();
    done_ = true;
  } else if (answer->has_value()) {
    finding.decision = finding.is_header ? parse_header_action(**answer) : parse_action(**answer);
    if (finding.decision.kind != Decision::Kind::dunno && !found_(finding)) done_ = true;
  }
}

}  // namespace millrace::checks
