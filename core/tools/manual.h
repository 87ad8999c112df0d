// main.cf(5) in mdoc, made from the rows of params.def and other_names.def.
#pragma once

#include <string>

namespace millrace::tools {

std::string main_cf_manual();

}  // namespace millrace::tools
