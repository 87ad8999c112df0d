// $name expansion inside parameter values, and the search for the names a value mentions.
//
// The grammar is that of postconf(5): $name ${name} $(name) ${name?text} ${name:text} ${name?{a}:{b}}
// ${{x} == {y} ? {a} : {b}} with == != < <= >= >, each also with the suffix "level" for compatibility
// levels, and $$ for a dollar sign.  Depth, output and work are bounded, so that no configuration can
// make a program loop or grow; Postfix bounds the depth alone.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "core/base/result.h"
#include "core/config/config.h"

namespace millrace::config {

constexpr int kMacroDepth = 100;           // nested names; Postfix's limit
constexpr int kMacroDepthPlain = 20;       // without recursion: runs on session fibers with small stacks
constexpr std::size_t kMacroBytes = 1 << 20;  // of output
constexpr int kMacroSteps = 100000;        // names looked up for one value

// Calls `seen` for every name that `text` mentions, in all branches of its conditions.  A syntax error
// ends the search.
void for_each_macro(std::string_view text, const std::function<void(std::string_view)>& seen);

// Three-part number as used for compatibility_level ("3.6", "2", "3.7.1") as one comparable number.
std::optional<std::int64_t> parse_level(std::string_view text);

}  // namespace millrace::config
