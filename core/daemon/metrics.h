// metrics_listen: counters and latency histograms of all filters as Prometheus text, over HTTP on a unix socket or a
// loopback port.  Served by the queue process; asks nothing of the one who connects and reads little from it.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "core/base/result.h"
#include "core/net/stream.h"

namespace millrace::daemon {

// "unix:/run/millrace/metrics", "inet:127.0.0.1:9100", "127.0.0.1:9100", "[::1]:9100".  Errors: config for an address
// that is not of this machine alone; io.
Result<int> listen_metrics(const std::string& text);

class MetricsServer {
 public:
  // `listening_fd` is not owned.  `text` is called for each request. [loop]
  MetricsServer(int listening_fd, std::function<std::string()> text);

 private:
  std::function<std::string()> text_;
  std::size_t open_ = 0;
  std::unique_ptr<net::Acceptor> acceptor_;
};

}  // namespace millrace::daemon
