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
#include <utility>
#include <vector>

#include "core/filter/chain.h"
#include "core/plugin/instance.h"

namespace millrace::plugin {

// `options.timeout` must be set: a plugin without a deadline could keep a session for ever.
std::shared_ptr<filter::Filter> make_plugin_filter(std::shared_ptr<Instance> instance, std::string name,
                                                   filter::Options options);

// Of the plugin behind a filter; nullptr when there is none.
const mr_descriptor* descriptor_of(const filter::Filter& filter);

// The same instance; nullptr when it is no plugin's.
std::shared_ptr<Instance> instance_of(const filter::Filter& filter);
// May its plugin speak in an Authentication-Results field?
bool edits_headers(const filter::Filter& filter);

// The word `check_plugin NAME`: a filter's "mr.restriction/1".  Each question is a session of its own to the
// plugin, with the same promises as a filter's calls.
class Restriction {
 public:
  // Errors: config, for a filter that offers none.
  static Result<std::shared_ptr<Restriction>> make(std::shared_ptr<Instance> instance, filter::Options options);
  // The access(5) action it answers.  Error: what went wrong, naming the plugin. [fiber]
  Result<std::string> ask(const std::vector<std::pair<std::string, std::string>>& attributes, filter::Context& context);

  const filter::Options& options() const { return options_; }

 private:
  std::shared_ptr<Instance> instance_;
  filter::Options options_;
  const mr_restriction_1* table_ = nullptr;
};

}  // namespace millrace::plugin
