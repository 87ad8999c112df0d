#include "core/tools/check.h"

#include <fmt/format.h>

namespace millrace::tools {

int report(const config::Findings& findings, std::string_view program, std::FILE* out) {
  for (const auto& line : findings.lines) {
    fmt::print(out, "{}: {}: {}\n", program, line.is_error ? "fatal" : "warning", line.to_text());
  }
  return findings.has_errors() ? 1 : 0;
}

int check_configuration(const std::string& config_directory, std::string_view program) {
  config::Findings findings;
  config::Config::load(config_directory, findings);
  return report(findings, program);
}

}  // namespace millrace::tools
