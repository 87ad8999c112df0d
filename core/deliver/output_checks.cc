#include "core/deliver/output_checks.h"

#include <fmt/format.h>

#include "core/base/strings.h"

namespace millrace::deliver {

std::unique_ptr<checks::Rewriter> OutputChecks::rewriter(const mime::Envelope& envelope, bool next_hop_takes_eight_bit) const {
  checks::RewriterOptions options;
  options.to_seven_bit = convert && !next_hop_takes_eight_bit && envelope.body != mime::BodyType::seven_bit;
  if (!options.to_seven_bit && !rules.has_tables()) return nullptr;
  options.rules = &rules;
  options.note = [this, id = envelope.queue_id](std::string_view action, bool is_header, std::string_view line, std::string_view text) {
    if (action.empty()) {
      std::string warning(text);
      if (const std::size_t at = warning.find("%s"); at != warning.npos) warning.replace(at, 2, is_header ? header_parameter : body_parameter);
      log.warning(warning);
      return;
    }
    constexpr std::size_t kLogged = 60;   // as smtp(8)
    log.info(fmt::format("{}: {}: {} {}{}{}", id, action, is_header ? "header" : "body", line.substr(0, kLogged),
                         text.empty() ? "" : ": ", text));
  };
  return std::make_unique<checks::Rewriter>(std::move(options));
}

Result<std::shared_ptr<const OutputChecks>> open_output_checks(const config::Config& config, const config::Service& service,
                                                               map::TableSet& tables, log::Logger log) {
  auto out = std::make_shared<OutputChecks>();
  const std::string prefix = service.command == "lmtp" ? "lmtp_" : "smtp_";
  std::string problem;
  const auto open = [&](const char* name) {
    auto maps = map::Maps::open(tables, config.value(prefix + name, &service).value_or(""));
    if (maps) return std::move(*maps);
    if (problem.empty()) problem = prefix + name + ": " + maps.error().context;
    return map::Maps();
  };
  out->rules.header = open("header_checks");
  out->rules.mime_header = open("mime_header_checks");
  out->rules.nested_header = open("nested_header_checks");
  out->rules.body = open("body_checks");
  if (!problem.empty()) return fail(Errc::config, problem);
  const config::Params& params = config.params();
  out->rules.limits.nesting = static_cast<std::size_t>(params.mime_nesting_limit);
  out->rules.limits.boundary_length = static_cast<std::size_t>(params.mime_boundary_length_limit);
  out->rules.limits.header_size = static_cast<std::size_t>(params.header_size_limit);
  out->rules.limits.line_length = static_cast<std::size_t>(params.line_length_limit);
  out->rules.body_size_limit = static_cast<std::uint64_t>(params.body_checks_size_limit);
  const auto conversion_off = config.value("disable_mime_output_conversion", &service);
  out->convert = !(conversion_off && config::parse_bool(*conversion_off).value_or(false));
  out->log = std::move(log);
  out->header_parameter = prefix + "header_checks";
  out->body_parameter = prefix + "body_checks";
  return std::shared_ptr<const OutputChecks>(std::move(out));
}

}  // namespace millrace::deliver
