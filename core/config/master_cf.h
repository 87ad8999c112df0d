// master.cf: one service per logical line (master(5)).  Pure: bytes in, services and findings out.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/config/config.h"

namespace millrace::config {

// Services in the order of the file.  A second entry for the same place replaces the first, with a
// warning.  `chroot_default` is what "-" means in that column: true below compatibility level 1.
std::vector<Service> parse_master_cf(std::string_view text, const std::string& file, bool chroot_default,
                                     Findings& findings);

}  // namespace millrace::config
