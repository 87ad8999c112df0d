// What a filter may offer besides being asked: an observer of deliveries, and a type of lookup table.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "core/filter/chain.h"
#include "core/map/foreign.h"
#include "core/map/table.h"
#include "core/plugin/instance.h"

namespace millrace::plugin {

// "mr.observer/1" of a filter.
class Observer {
 public:
  // nullptr: the filter is no plugin's, or offers none.
  static std::shared_ptr<Observer> make(const filter::Filter& filter);
  const std::string& name() const { return name_; }   // of the filter
  // `delivery` as queue::wire has it: status, queue id, sender, recipient, original recipient, relay, status code,
  // text, microseconds.  Returns when the plugin has; what it throws is logged. [fiber]
  void tell(const std::vector<std::string>& delivery);

 private:
  std::string name_;
  std::shared_ptr<Instance> instance_;
  const mr_observer_1* table_ = nullptr;
};

// "mr.table_provider/1": tables of the types that the plugins in a directory provide, "geo:NAME" of geo.so.  Naming one
// costs a look at the directory; its plugin is loaded later, by load() or the first look-up, and never as root.
class TableSource : public std::enable_shared_from_this<TableSource> {
 public:
  TableSource(std::string directory, log::Logger log) : directory_(std::move(directory)), log_(std::move(log)) {}
  // Must be held by a shared_ptr.
  Result<std::shared_ptr<map::Named>> open(std::string_view type, std::string_view argument);
  // From now on this process knows those types; it must outlive its tables.
  void use();
  // All that were named so far.  Error: config, of the first that does not open. [load]
  Result<void> load();

 private:
  class Provided;
  struct Type;
  Result<std::shared_ptr<Type>> find_type(const std::string& name);
  std::string directory_;
  log::Logger log_;
  std::mutex mutex_;
  std::vector<std::shared_ptr<Type>> types_;         // under mutex_
  std::vector<std::weak_ptr<Provided>> tables_;
};

}  // namespace millrace::plugin
