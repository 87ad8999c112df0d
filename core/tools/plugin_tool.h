// `millrace plugin`: what the plugins in plugin_directory say of themselves.
#pragma once

#include <string>

namespace millrace::tools {

// plugin list [--json] [NAME …]    each plugin is loaded in a process of its own that ends thereafter:
//                                  0 all can be loaded, 1 some cannot, 2 usage or configuration
int plugin_main(int argc, char** argv, const std::string& config_directory);

}  // namespace millrace::tools
