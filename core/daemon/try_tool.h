// `millrace try FILE.eml -f SENDER -r RECIPIENT… --client ADDRESS[,NAME] --helo NAME [--json]`: runs a saved message
// with a made-up envelope through the configured chain, without a daemon and without delivering anything.
// `millrace doctor`: what newcomers trip over in a configuration with filters.
#pragma once

#include <string>

namespace millrace::daemon {

int try_main(int argc, char** argv, const std::string& config_directory);
int doctor_main(int argc, char** argv, const std::string& config_directory);

}  // namespace millrace::daemon
