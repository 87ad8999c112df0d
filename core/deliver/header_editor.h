// The header section of a message on its way out, field by field: what smtp_generic_maps edits.  Pure but for the
// edit it is given.
//
// Promise: the body, and fields above the limit, pass as they are; what is kept is one field, bounded.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "core/base/result.h"

namespace millrace::deliver {

class HeaderEditor {
 public:
  // One field with its folding and its last CRLF, which the edit must leave there.
  using Edit = std::function<Result<void>(std::string& field)>;
  explicit HeaderEditor(Edit edit, std::size_t field_limit = 256 * 1024) : edit_(std::move(edit)), limit_(field_limit) {}

  // Appends what may go to `out`.  Errors: those of the edit.
  Result<void> feed(std::string_view text, std::string& out);
  Result<void> finish(std::string& out);

 private:
  Result<void> end_field(std::string& out);
  Edit edit_;
  std::size_t limit_;
  std::string field_;           // the field so far; empty when it is too long
  bool line_start_ = true, too_long_ = false, body_ = false;
};

}  // namespace millrace::deliver
