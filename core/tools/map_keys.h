// What postmap(1) makes of a message on standard input (-h, -b, -m) and of file contents as values (-F).  Pure but for
// reading the files that a table names.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "core/base/result.h"

namespace millrace::tools {

struct MessageKeys {
  bool headers = false;   // -h: header fields
  bool body = false;      // -b: body lines
  bool mime = false;      // -m: of MIME parts and attached messages, too
};

// The lookup keys of a message with LF or CRLF line ends, in order; `each` false ends it.  Errors: protocol (the message's form).
Result<void> message_keys(std::string_view message, const MessageKeys& which, const std::function<bool(std::string_view)>& each);

std::string base64_encode(std::string_view bytes);
// nullopt: no base64.
std::optional<std::string> base64_decode(std::string_view text);

// The contents of the files in a list, with a line end between two.  Errors: not_found, io, too_large, protocol (no names).
Result<std::string> files_content(std::string_view names);

}  // namespace millrace::tools
