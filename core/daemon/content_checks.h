// header_checks, mime_header_checks, nested_header_checks and body_checks of main.cf as one filter of the
// chain, ahead of milters (header_checks(5), cleanup(8)).
#pragma once

#include <memory>

#include "core/base/log.h"
#include "core/config/config.h"
#include "core/filter/chain.h"
#include "core/map/table.h"

namespace millrace::daemon {

// nullptr without error when all four are empty, nullptr with a finding when a table cannot be used.
// `log` is the one of program cleanup.
std::shared_ptr<filter::Filter> make_content_checks(const config::Config& config, const config::Params& params,
                                                    map::TableSet& tables, const log::Logger& log,
                                                    config::Findings& findings);

}  // namespace millrace::daemon
