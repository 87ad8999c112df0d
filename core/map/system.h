// Tables of the system's own: users and groups, the environment; and randmap, which asks nobody.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/map/named.h"

namespace millrace::map {

// unix:passwd.byname and unix:group.byname: the line of passwd(5) or group(5).  Name services may take their time:
// asked on the worker pool, from a fiber; blocking, without a loop.
class UnixTable : public Named {
 public:
  enum class Which { passwd, group };
  UnixTable(std::string name, Which which) : Named(std::move(name)), which_(which) {}
  Lookup find(std::string_view key) override;
  bool is_pattern() const override { return false; }
  bool may_suspend() const override { return true; }

 private:
  Which which_;
};

// environ: variables of the process; names are folded to lower case, as in all indexed tables.
class EnvironTable : public Named {
 public:
  using Named::Named;
  Lookup find(std::string_view key) override;
  bool is_pattern() const override { return false; }
};

// internal: a table that programs fill for themselves: empty for everybody else.
class EmptyTable : public Named {
 public:
  using Named::Named;
  Lookup find(std::string_view) override { return std::optional<std::string>(); }
  bool is_pattern() const override { return false; }
  std::optional<std::map<std::string, std::string>> entries() const override { return std::map<std::string, std::string>(); }
};

// randmap: one of the values, whatever the key.
class RandomTable : public Named {
 public:
  RandomTable(std::string name, std::vector<std::string> values) : Named(std::move(name)), values_(std::move(values)) {}
  Lookup find(std::string_view key) override;
  bool is_pattern() const override { return true; }

 private:
  std::vector<std::string> values_;   // at least one
};

}  // namespace millrace::map
