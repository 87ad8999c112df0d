// The text of a filter in main.cf: one element of smtpd_filters or of smtpd_milters, with its block.
//
//   plugin:sample     { plugin:sample, timeout=5s, reject=spam@ }     inet:127.0.0.1:8891
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/result.h"
#include "core/filter/chain.h"

namespace millrace::filter {

using KeyValue = std::pair<std::string, std::string>;

// The elements of a list: separated by commas and blanks, { } groups kept whole with their braces.
// nullopt: a brace without its partner.
std::optional<std::vector<std::string>> split_braced(std::string_view text);

// "a=b" or "{ a = b }", trimmed.
std::optional<KeyValue> parse_assignment(std::string_view text);

struct Element {
  std::string name;             // "plugin:sample"
  std::vector<KeyValue> keys;   // of its block
};
// Errors: config.
Result<Element> parse_element(std::string_view text);

// "FAILURES/TIME/GRACE", the last two optional.
std::optional<BreakerRule> parse_breaker(std::string_view text);

// Takes one of the common keys: timeout shadow stream parallel max_connections breaker default_action and
// default_action_CLASS.  False: it is another key.  Errors:
// config, for a value that cannot be used.
Result<bool> set_common_option(Options& options, const KeyValue& pair);

// What a word of default_action stands for: accept, reject, tempfail, quarantine, shutdown.  Codes and
// texts are those of a milter that fails.
std::optional<Verdict> default_action_verdict(std::string_view word);

}  // namespace millrace::filter
