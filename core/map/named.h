// Inside of core/map: what the kinds of tables have in common.
#pragma once

#include <string>

#include "core/map/cidr.h"
#include "core/map/table.h"

namespace millrace::map {

class Named : public Table {
 public:
  explicit Named(std::string name) : name_(std::move(name)) {}
  const std::string& name() const override { return name_; }
  // Once a second.
  virtual void refresh(const Warn&) {}

 private:
  std::string name_;
};

}  // namespace millrace::map
