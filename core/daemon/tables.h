// How a role opens its lookup tables.
#pragma once

#include "core/base/log.h"
#include "core/config/config.h"
#include "core/daemon/child.h"
#include "core/map/table.h"

namespace millrace::daemon {

// Warnings go to `log`; proxy: tables are opened with the rights of `owner`.
map::TableOptions table_options(const config::Config& config, const Owner& owner, const log::Logger& log);

}  // namespace millrace::daemon
