// Answering policy requests: one fiber a connection, filters shared by all.  Belongs to one loop.
#pragma once

#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

#include "core/base/log.h"
#include "core/net/stream.h"
#include "core/plugin/filter.h"
#include "core/policyd/request.h"

namespace millrace::policyd {

struct Asked {
  std::string name;   // "plugin:spf"
  std::shared_ptr<plugin::Restriction> filter;
};
using Filters = std::vector<Asked>;

class Server {
 public:
  explicit Server(log::Logger log) : log_(std::move(log)) {}

  // Takes the place of the filters so far; what is being asked ends with the old ones.
  void use(Filters filters) { filters_ = std::make_shared<const Filters>(std::move(filters)); }
  // Serves one connection to its end. [fiber]
  void serve(std::unique_ptr<net::Stream> stream);
  // From here on, connections end after the request they are at; idle ones end at once.
  void drain();
  std::size_t connections() const { return open_; }

  // The action for a request.  The first filter that says more than DUNNO answers; a refusal goes before a header
  // that an earlier one would add. [fiber]
  std::string answer(const Attributes& attributes);

 private:
  struct Connection;
  std::string ask(const Asked& asked, const Attributes& attributes);

  log::Logger log_;
  std::shared_ptr<const Filters> filters_ = std::make_shared<const Filters>();
  std::unordered_set<Connection*> idle_;
  std::size_t open_ = 0;
  bool draining_ = false;
};

}  // namespace millrace::policyd
