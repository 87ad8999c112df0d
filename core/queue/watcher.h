// Told of deliveries by the queue process, over a connection of its own.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/base/log.h"

namespace millrace::queue {

// Until it is destroyed; connects again when the queue process was started anew.  `each` gets what a frame `delivered`
// holds (wire.h), on a fiber.  Loop-local.
class Watcher {
 public:
  using Each = std::function<void(const std::vector<std::string>&)>;
  static std::unique_ptr<Watcher> start(const std::string& socket_path, Each each);
  virtual ~Watcher() = default;
};

}  // namespace millrace::queue
