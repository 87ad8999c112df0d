// Inside of core/plugin: the host's side of the ABI, given to each instance.
#pragma once

#include "millrace/plugin.h"

namespace millrace::plugin {

class Instance;
mr_host make_host_table(Instance& instance);

}  // namespace millrace::plugin
