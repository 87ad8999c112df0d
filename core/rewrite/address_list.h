// The addresses in a header field or a table's result: a list in the grammar of RFC 5322 section 3.4, read as
// leniently as mail is written.  Pure; linear in the text.
//
// Promise: what is not an address is reported by no span, so that an edit of the spans leaves it byte for byte.
// Does not decide whether an address is a good one.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "core/rewrite/address.h"

namespace millrace::rewrite {

struct AddressSpan {
  std::size_t begin = 0, end = 0;   // first octet and past the last; the brackets of <a@b> are outside
  Tokens tokens;                    // without comments; never empty
  std::string comments;             // " (c)" of each comment between the tokens
  bool phrase = false;              // neighbouring words without brackets: a name rather than an address
};

// Display names, comments, group names and what stands in an unclosed bracket are in no span.  Text past
// `token_limit` tokens is not looked at.
std::vector<AddressSpan> find_addresses(std::string_view text, std::size_t token_limit);

// Gives each address, in internal form and as tokens, to `edit`; its answer, in internal form, replaces the
// address unless it is nullopt.  Phrases are left alone.  True: `text` changed.  Errors: those of `edit`; the text
// is as it was.
using AddressEdit = std::function<Result<std::optional<std::string>>(const Tokens& tokens)>;
Result<bool> edit_addresses(std::string& text, std::size_t token_limit, const AddressEdit& edit);

}  // namespace millrace::rewrite
