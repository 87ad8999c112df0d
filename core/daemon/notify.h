// Tells systemd how we are (sd_notify(3)): one datagram to the socket that NOTIFY_SOCKET names, written by hand.
#pragma once

#include <string_view>

namespace millrace::daemon {

// Reads and removes NOTIFY_SOCKET; to be called before the environment is cleaned.  Without it the rest does nothing.
void find_service_manager();

// "READY=1", "STOPPING=1", …: lines of assignments.  Never waits.
void tell_service_manager(std::string_view state);
void tell_reloading();   // with the time that systemd wants beside it

}  // namespace millrace::daemon
