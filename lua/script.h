// A policy file and its functions, callable from any fiber of the loop it was loaded on.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "lua/sandbox.h"

namespace millrace::lua {

// Fields of the table a function gets: the names and values of the policy protocol's attributes
// (SMTPD_POLICY_README), numbers as numbers.
using Facts = std::vector<std::pair<std::string, std::variant<std::string, std::int64_t>>>;

// What a function said, and where it is, for the log when its words mean nothing: "policy.lua:3".
struct Answer {
  std::string action;   // "reject", "dunno", "REJECT 5.7.1 text": one or two strings joined by a space
  std::string where;
};

class Script {
 public:
  // Reads and runs the file once.  Errors: config, "file:line: why".
  static Result<std::shared_ptr<Script>> load(const std::string& path, const Budget& budget);
  ~Script();

  bool has_function(const std::string& name) const;

  // Calls a function with one table.  Errors: temporary, "file:line: why" (script errors, budgets, nil or a
  // wrong type returned).  Runs on a fiber of its own with a stack Lua can use; suspends the caller. [fiber]
  Result<Answer> call(const std::string& function, const Facts& facts, net::Resolver* resolver, Deadline deadline,
                      const log::Logger& log);

  const std::string& path() const { return path_; }

 private:
  struct Run;
  Script(std::string path, const Budget& budget);
  Result<void> refresh();
  static void run(Run& run);

  std::string path_;
  Budget budget_;
  std::shared_ptr<Sandbox> sandbox_;
};

}  // namespace millrace::lua
