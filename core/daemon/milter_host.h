// What milters need to know of this configuration, wherever they are used.
#pragma once

#include <memory>

#include "core/config/config.h"
#include "core/map/table.h"
#include "core/milter/settings.h"
#include "core/rewrite/router.h"

namespace millrace::daemon {

// Fills in milter_header_checks, their log and, with a router, where mail goes.  False after a finding.
bool add_milter_host(milter::Host& host, const config::Config& config, const config::Params& params, map::TableSet& tables,
                     std::shared_ptr<const rewrite::Router> router, config::Findings& findings,
                     const config::Service* service = nullptr);

}  // namespace millrace::daemon
