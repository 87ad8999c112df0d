// The commands that start, stop and examine the daemon: `millrace start`, `start-fg`, `stop`, `reload`,
// `status`, `flush`, `check`, `logrotate` (postfix(1)).
#pragma once

#include <string>

namespace millrace::daemon {

int start_main(const std::string& config_directory, bool foreground);
int stop_main(const std::string& config_directory);
int reload_main(const std::string& config_directory);
int status_main(const std::string& config_directory);
int logrotate_main(const std::string& config_directory);
// Says what is wrong with a configuration, also what only shows when it runs: the roles are prepared in
// child processes that touch nothing.  0 when sound.
int check_main(const std::string& config_directory);

}  // namespace millrace::daemon
