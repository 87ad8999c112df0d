// `millrace probe ADDRESS [--policy|--milter] [--json]`: what a milter or policy service wants and answers, how fast,
// and what of it is out of protocol.  Exit: 0 all well, 1 it misbehaved or is not there, 2 usage.
#pragma once

#include <string>

namespace millrace::tools {

int probe_main(int argc, char** argv, const std::string& config_directory);

}  // namespace millrace::tools
