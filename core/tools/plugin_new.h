// `millrace plugin new`: a project to begin a plugin with.
#pragma once

#include <string>

namespace millrace::tools {

// Makes the folder `name` with source, CMakeLists.txt, Makefile, configuration and README.  `lang` is "c" or "cxx".
// 0, or 1 after saying why not; nothing is overwritten.
int plugin_new(const std::string& lang, const std::string& name);

}  // namespace millrace::tools
