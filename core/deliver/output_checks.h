// smtp_header_checks, smtp_mime_header_checks, smtp_nested_header_checks, smtp_body_checks (and lmtp_…), and the
// conversion of 8-bit mail for a next hop without 8BITMIME: what a transport's client does to the text it sends.
#pragma once

#include <memory>
#include <optional>

#include "core/base/log.h"
#include "core/checks/rewriter.h"
#include "core/config/config.h"
#include "core/map/table.h"
#include "core/mime/envelope.h"

namespace millrace::deliver {

struct OutputChecks {
  checks::Rules rules;
  bool convert = true;      // disable_mime_output_conversion = no
  log::Logger log;          // program smtp or lmtp
  // Postfix's class names, for warnings: "smtp_header_checks".
  std::string header_parameter, body_parameter;

  // What has to be done to a message; nullptr when it goes out as it is.  `this` outlives the result.
  std::unique_ptr<checks::Rewriter> rewriter(const mime::Envelope& envelope, bool next_hop_takes_eight_bit) const;
};

// Errors: config, naming the parameter.
Result<std::shared_ptr<const OutputChecks>> open_output_checks(const config::Config& config, const config::Service& service,
                                                               map::TableSet& tables, log::Logger log);

}  // namespace millrace::deliver
