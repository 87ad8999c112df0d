// What became of a message, as the edits a milter asks for: the message before and after the chain are compared,
// so that any number of filters of any kind come out as one milter whose edits have the same result.
//
// Pure.  Positions count as Postfix and Sendmail count them: insertions over all fields, the MTA's own Received
// first; changes over the fields of a name without that one.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/mime/envelope.h"
#include "core/mime/message.h"

namespace millrace::milterd {

// SMFIF_*: what the MTA lets us ask for.
namespace action {
inline constexpr std::uint32_t kAddHeaders = 0x1, kChangeBody = 0x2, kAddRecipients = 0x4, kDeleteRecipients = 0x8,
                               kChangeHeaders = 0x10, kQuarantine = 0x20, kChangeFrom = 0x40, kMacroLists = 0x100;
}

struct HeaderStep {
  enum class Kind { change, remove, insert } kind;
  std::size_t index = 0;   // change, remove: the n-th field of that name, from 1; insert: position, from 0
  const mime::Header* header = nullptr;   // the new one; remove: the old one
};
// In the order in which they are to be asked for; the headers must outlive them.  One own_received field in each list
// stands for the MTA's own.
std::vector<HeaderStep> header_steps(std::span<const mime::Header> before, std::span<const mime::Header> after);

// A reply as SMFIR_REPLYCODE wants it: "550 5.7.1 text" lines with CRLF between them and '%' doubled.  Control bytes
// of the text are replaced.  An enhanced code that does not fit the code gives way to C.0.0.
std::string reply_text(int code, std::string_view enhanced, std::string_view text);

}  // namespace millrace::milterd
