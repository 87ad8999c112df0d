// A plugin's verdict as one of ours, or what is wrong with it.  Pure: nothing a plugin writes there gets
// further unchecked.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/base/result.h"
#include "core/filter/verdict.h"
#include "millrace/plugin.h"

namespace millrace::plugin {

// `stage` is an MR_STAGE_ bit; `smtputf8`: may the text hold UTF-8?  Error protocol: what is wrong.
Result<filter::Verdict> to_verdict(const mr_verdict* verdict, std::uint32_t stage, bool smtputf8);

// The bytes of a plugin's text; nullopt when it has a size and no data, or is over `limit`.
std::optional<std::string_view> to_view(mr_string text, std::size_t limit);

filter::Stage to_stage(std::uint32_t stage);

}  // namespace millrace::plugin
