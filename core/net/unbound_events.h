// Inside of core/net: libunbound's pluggable event base on this thread's loop.
#pragma once

struct ub_event_base;

namespace millrace::net {

// The base of the current loop's thread: holds no state, all of it is in the events.
ub_event_base* unbound_event_base();

}  // namespace millrace::net
