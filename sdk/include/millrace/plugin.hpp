// A helper for plugins in C++17 and later: classes over the C ABI of plugin.h, headers alone.
//
// Derive from Filter, answer at the stages you declare, and end the file with MILLRACE_PLUGIN(YourFilter):
//
//   struct Polite : millrace::sdk::Filter {
//     static millrace::sdk::Description describe() { return {"polite", "1.0", "refuses the impolite"}; }
//     Verdict rcpt(Call& call) override { return call.argument() == "<me@x>" ? Verdict::reject("no") : Verdict(); }
//   };
//   MILLRACE_PLUGIN(Polite)
//
// Promises: nothing thrown crosses the border (the filter's failure policy answers); texts you return live as
// long as they must; what you keep with call.state<T>() is destroyed when the session ends.  This is never a
// second ABI: everything is inline in your plugin.  Read sdk/filter.hpp, then sdk/call.hpp.
#ifndef MILLRACE_PLUGIN_HPP
#define MILLRACE_PLUGIN_HPP

#include "millrace/plugin.h"
#include "millrace/sdk/adapter.hpp"
#include "millrace/sdk/filter.hpp"

#define MILLRACE_PLUGIN(...) \
  extern "C" MR_EXPORT const mr_entry* millrace_plugin_entry_v1(void) { return millrace::sdk::detail::Plugin<__VA_ARGS__>::entry(); }

#endif
