// header_checks, mime_header_checks, nested_header_checks and body_checks over one message.
#pragma once

#include <functional>
#include <optional>

#include "core/base/result.h"
#include "core/checks/action.h"
#include "core/checks/mime_walker.h"
#include "core/map/table.h"

namespace millrace::checks {

// The four tables; shared by all messages.
struct Rules {
  map::Maps header, mime_header, nested_header, body;
  Limits limits;
  std::uint64_t body_size_limit = 51200;   // body_checks_size_limit, of each part
  bool structure = true;                   // disable_mime_input_processing = no
  unsigned faults = 0;                     // MimeFault bits that are looked for

  bool has_tables() const { return !header.empty() || !mime_header.empty() || !nested_header.empty() || !body.empty(); }
  bool looks_at_body() const {
    return !mime_header.empty() || !nested_header.empty() || !body.empty() || (structure && (faults & ~kEightBitHeaderFault) != 0);
  }
};

// One message.  Headers first, then the body in any pieces.  After a table error, or once the handler said
// that it has seen enough, nothing is asked any more.
class Inspection final : private MimeWalker::Handler {
 public:
  // Something the tables had an opinion on.  For headers of the message `offset` is not set.
  struct Finding {
    bool is_header = true;
    HeaderClass header_class = HeaderClass::primary;
    std::string_view text;                   // the header with LF between folded lines, or the body line
    Decision decision;
    std::optional<std::uint64_t> offset;     // in the body
    std::uint64_t length = 0;
  };
  // Returns false to end the inspection.
  using Found = std::function<bool(const Finding&)>;
  using Fault = std::function<void(MimeFault, std::string_view text)>;

  Inspection(const Rules& rules, Found found, Fault fault = {});

  // "Name: value", folded lines joined with LF; `name` and `value` are its parts.
  void header(std::string_view text, std::string_view name, std::string_view value);
  void end_of_headers() { walker_.end_of_headers(); }
  bool wants_body() const { return !done_ && rules_.looks_at_body(); }
  void body(std::string_view bytes);
  void finish();

  bool done() const { return done_; }
  const std::optional<Error>& error() const { return error_; }   // of a table
  unsigned faults() const { return walker_.faults(); }   // MimeFault bits

 private:
  void part_header(HeaderClass header_class, std::string_view text, std::uint64_t offset, std::uint64_t length) override;
  void body_line(std::string_view line, std::uint64_t offset, std::uint64_t length, bool first, bool ends) override;
  void fault(MimeFault fault, std::string_view text) override {
    if (fault_) fault_(fault, text);
  }
  void ask(const map::Maps& maps, Finding finding);
  const map::Maps& maps_of(HeaderClass header_class) const;

  const Rules& rules_;
  Found found_;
  Fault fault_;
  MimeWalker walker_;
  std::uint64_t part_bytes_ = 0;
  bool done_ = false;
  std::optional<Error> error_;
};

}  // namespace millrace::checks
