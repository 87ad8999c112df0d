// `millrace plugin`: what plugins say of themselves, whether they keep to the ABI, and how to begin one.
#pragma once

#include <string>

namespace millrace::tools {

// plugin list [--json] [NAME …]    each plugin is loaded in a process of its own that ends thereafter:
//                                  0 all can be loaded, 1 some cannot, 2 usage or configuration
// plugin check FILE.so [KEY=VALUE …]   the conformance kit (plugin_check.h)
// plugin new [--lang c|cxx] NAME   a project to begin with (plugin_new.h)
int plugin_main(int argc, char** argv, const std::string& config_directory);

}  // namespace millrace::tools
