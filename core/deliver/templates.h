// Bounce message templates (bounce(5)): what a notice says to a human, from bounce_template_file or built in.
//
// Promise: a template that cannot be used is left out with a warning and the one before stays, so that there is
// always something to send.  Reading is pure; names are expanded once, at start.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "core/base/result.h"

namespace millrace::deliver {

struct Template {
  std::string charset = "us-ascii";
  std::string from;                        // value of the header field, as it is sent
  std::string subject, postmaster_subject;
  std::string text;                        // lines with CRLF
};

struct Templates {
  Template failure, delay, success, verify;
  Templates();                             // the built-in ones, names not expanded
};

// Takes the templates in the text of a bounce_template_file into `out`.  `warn` gets "line 3: …".
void read_templates(std::string_view file, Templates& out, const std::function<void(const std::string&)>& warn);

// Expands $name in the texts.  Beside `lookup` there are $delay_warning_time_UNIT and
// $maximal_queue_lifetime_UNIT (seconds, minutes, hours, days, weeks; rounded up or down as printf's %.0f).
// Errors: config, naming the template.
Result<void> expand_templates(Templates& templates, long delay_warning_s, long lifetime_s,
                              const std::function<std::optional<std::string>(std::string_view)>& lookup);

}  // namespace millrace::deliver
