// The front role: SMTP sessions, the chain, in-process plugins and Lua, on one event loop, without
// privileges.  Never opens the queue.
#pragma once

#include "core/daemon/setup.h"

namespace millrace::daemon {

// The whole life of a front process: prepare (as root: tables, keys; then as mail_owner: plugins,
// scripts), report ready, wait for "go", serve, drain.  Returns the exit status.
int front_main(const Setup& setup, int slot, int channel);

}  // namespace millrace::daemon
