// A plugin in main.cf: an element of smtpd_filters becomes a filter.
//
//   plugin:sample    { plugin:sample/ID, reject=spam@, timeout=5s, default_action=accept, shadow=yes }
//
// timeout, default_action, shadow are the chain's; all other keys are the filter's own, checked against its
// schema and handed to it as a JSON object.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "core/config/config.h"
#include "core/filter/chain.h"
#include "core/plugin/instance.h"

namespace millrace::plugin {

// nullptr after an error in `findings`. `host.body_limit` is set here.
std::shared_ptr<filter::Filter> make_filter(const config::Config& config, const config::Params& params,
                                            std::string_view element, config::Findings& findings, Host host,
                                            const std::string& parameter = "smtpd_filters");

// The same from a directory, for programs without a main.cf.  Errors: config, not_found.
Result<std::shared_ptr<filter::Filter>> make_filter(const std::string& directory, std::string_view element, Host host);

class Restriction;
// The filter of "plugin:NAME" or a { } block as the word check_plugin.  Errors: config, not_found.
Result<std::shared_ptr<Restriction>> make_restriction(const config::Params& params, std::string_view element, Host host);
// The same from a directory; `more` keys stand behind the block's own, `timeout` where it names none.
Result<std::shared_ptr<Restriction>> make_restriction(const std::string& directory, std::string_view element, Host host,
                                                      const std::map<std::string, std::string>& more,
                                                      std::chrono::milliseconds timeout);

// The same after the library is known, for tests.  Errors: config.
Result<std::shared_ptr<filter::Filter>> make_filter(std::shared_ptr<const Library> library, std::string_view element,
                                                    Host host);

// The descriptors of a library as JSON text, one object: what `millrace plugin list --json` prints.
std::string describe(const Library& library);

}  // namespace millrace::plugin
