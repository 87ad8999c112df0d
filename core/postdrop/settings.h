// What postdrop wants to know of main.cf, read without any library: logical lines, $name and ${name}.
//
// Promise: pure and bounded.  The file is the administrator's, and who may name another one is decided by the
// caller.  Does not know ${name?text}: such a value is reported as unusable rather than guessed at.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace millrace::postdrop {

class Settings {
 public:
  // `config_directory` is the value of that name.
  Settings(std::string_view main_cf, std::string config_directory);
  // The expanded value; `fallback` when main.cf does not set it; nullopt when it cannot be expanded here.
  std::optional<std::string> value(const std::string& name, const std::string& fallback) const;

 private:
  std::optional<std::string> expand(std::string_view text, int depth) const;
  std::map<std::string, std::string> raw_;
};

enum class Allowed { yes, no, ask_others };
// Is `user` in a list such as authorized_submit_users?  Names, !names, static:anything.  ask_others: the list
// uses tables or files, which pickup looks into when it takes the mail.
Allowed is_listed(std::string_view list, std::string_view user);

// Is `directory` one of the words of a list such as alternate_config_directories?
bool is_word_of(std::string_view list, std::string_view word);

}  // namespace millrace::postdrop
