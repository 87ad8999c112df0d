// Asking policy services: connections are kept, shared by all sessions of a process, and bounded.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/result.h"
#include "core/net/fiber.h"
#include "core/net/stream.h"
#include "core/policy/options.h"
#include "core/policy/wire.h"

namespace millrace::policy {

// Counts that hold for all processes of the server.
class SharedCounts {
 public:
  struct Place {
    int slot = -1;             // -1: the table is full, not counted
    std::uint32_t count = 0;   // there now, this one included
  };
  virtual ~SharedCounts() = default;
  virtual Place enter(const std::string& name) = 0;   // paired with leave()
  virtual void leave(const Place& place) = 0;
};

// One service.  Belongs to one loop.
class Service {
 public:
  using Connect = std::function<Result<std::unique_ptr<net::Stream>>(Deadline)>;
  // Without `counts`, max_connections are those of this process; without `shared`, the breaker is.  Not owned.
  Service(ServiceOptions options, Connect connect, std::shared_ptr<SharedCounts> counts = nullptr,
          filter::SharedFilter* shared = nullptr);

  const ServiceOptions& options() const { return options_; }
  const std::string& name() const { return options_.name; }

  // Sends the request and gives the action the service answers.  Tries try_limit times, each within the
  // service's timeout, and never past `deadline`.  What went wrong is logged here ("problem talking to
  // server 127.0.0.1:10023: Connection refused"); the caller then uses failure_action().  While its circuit breaker is open
  // it is not asked at all.  Counted, with its time, among the filters.  [fiber]
  Result<std::string> ask(const Attributes& request, Deadline deadline, const log::Logger& log);

  // What is answered in place of a service that cannot be asked: the default_action, of the class of traffic where it has
  // one; for a time after the breaker opened, mail is put off whatever they say.
  std::string failure_action(filter::Traffic traffic) const;

  // Closes connections that were idle or alive for too long, or that another process waits for.  [loop]
  void sweep();

 private:
  // One connection among those of the whole server.
  class Held {
   public:
    Held(std::shared_ptr<SharedCounts> counts, const std::string& name)
        : counts_(std::move(counts)), place_(counts_->enter(name)) {}
    ~Held() { counts_->leave(place_); }
    Held(const Held&) = delete;
    std::uint32_t count() const { return place_.count; }

   private:
    std::shared_ptr<SharedCounts> counts_;
    SharedCounts::Place place_;
  };
  struct Connection {
    std::unique_ptr<Held> held;      // outlives the stream
    std::unique_ptr<net::Stream> stream;
    TimePoint created, last_used;
    std::int64_t requests = 0;
  };
  Result<std::string> talk(const Attributes& request, Deadline deadline, const log::Logger& log);
  bool usable(const Connection& connection, TimePoint now) const;
  Result<Connection> take(bool fresh, Deadline deadline);
  Result<std::unique_ptr<Held>> hold(Deadline deadline);
  bool wanted_elsewhere() const;
  Result<std::string> attempt(const std::string& request, Deadline deadline, bool fresh, bool& reused);
  Result<std::string> exchange(Connection& connection, const std::string& request, Deadline deadline, bool& keep);

  ServiceOptions options_;
  Connect connect_;
  std::shared_ptr<SharedCounts> counts_;
  std::unique_ptr<filter::SharedFilter> own_;   // where nobody shares
  filter::SharedFilter* shared_;
  net::Gate gate_;
  std::vector<Connection> idle_;   // the most recently used last
  bool hung_up_ = false;           // the last failure was the service closing the connection
};

// The services of one process, by argument.  Not thread-safe.
class Pool {
 public:
  // `queue_directory` is where relative unix paths begin, and absolute ones of a chrooted service.
  explicit Pool(std::string queue_directory, std::shared_ptr<SharedCounts> counts = nullptr, filter::SharedFilters* shared = nullptr)
      : queue_directory_(std::move(queue_directory)), counts_(std::move(counts)), shared_(shared) {}

  // Parses the argument and looks host names up, so it is for start-up.  Errors: config.
  Result<std::shared_ptr<Service>> open(std::string_view argument, const config::Params& params, bool chroot);
  void sweep();

 private:
  std::string queue_directory_;
  std::shared_ptr<SharedCounts> counts_;
  filter::SharedFilters* shared_;
  std::map<std::string, std::shared_ptr<Service>> services_;
};

}  // namespace millrace::policy
