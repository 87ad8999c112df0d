// Where the queue lives below queue_directory: one place for the daemon and the tools.
#pragma once

#include <string>

namespace millrace::queue {

// StoreOptions::directory; owned by mail_owner, mode 0700.
inline std::string store_directory(const std::string& queue_directory) { return queue_directory + "/store"; }
// Fronts to queue.
inline std::string queue_socket_path(const std::string& queue_directory) { return queue_directory + "/private/queue"; }
// Tools to queue.
inline std::string control_socket_path(const std::string& queue_directory) { return queue_directory + "/public/control"; }

}  // namespace millrace::queue
