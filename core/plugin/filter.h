// A plugin as a filter of the chain.
//
// Promises: each call has a fiber of its own (256 KiB), or a worker thread when the plugin says that it
// blocks, so that its deadline can answer for it; what it answers late, twice or wrongly changes nothing
// and is counted; its edits are applied whole or not at all; while an earlier call for a session has not
// returned, no other is made for it.  What it cannot do: take the loop back from a plugin that computes for
// ever without a host call (the watchdog names it; the cage is the answer to that).
#pragma once

#include <memory>
#include <string>

#include "core/filter/chain.h"
#include "core/plugin/instance.h"

namespace millrace::plugin {

// `options.timeout` must be set: a plugin without a deadline could keep a session for ever.
std::shared_ptr<filter::Filter> make_plugin_filter(std::shared_ptr<Instance> instance, std::string name,
                                                   filter::Options options);

}  // namespace millrace::plugin
