// `millrace explain QUEUE-ID [--json]`: what each filter said about a message, from the decision trace.
#pragma once

#include <string>
#include <vector>

namespace millrace::tools {

// QUEUE-ID, or PID.NUMBER for a whole session as the trace names it.
// Exit status: 0 found, 1 nothing known, 2 usage or no trace.
int explain_main(int argc, char** argv, const std::string& config_directory);

// Lines of the trace store as a person reads them.  Pure; a line that is no JSON is left out.
std::string explain_text(const std::vector<std::string>& lines);

}  // namespace millrace::tools
