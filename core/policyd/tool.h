// `millrace policyd`: the policy service as a program; options in core/service/program.h.
//
// Without --socket it serves the sockets that systemd gives it, or else standard input (Postfix spawn(8)).
#pragma once

#include <string>

namespace millrace::policyd {

int policyd_main(int argc, char** argv, const std::string& config_directory);

}  // namespace millrace::policyd
