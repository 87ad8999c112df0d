// The queue role: store, scheduler and delivery, on one event loop, without privileges.
#pragma once

#include "core/daemon/setup.h"

namespace millrace::daemon {

// `commands` is our end of the socket to the master for what needs another user's rights.
// The whole life of the queue process: prepare, report ready, wait for "go" (the store is free then),
// serve, and at "drain" or "stop" let deliveries end, commit and close.  Returns the exit status.
int queue_main(const Setup& setup, int channel, int commands);

}  // namespace millrace::daemon
